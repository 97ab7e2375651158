"""Pictures of more than eight bits, from file to pixels: the right value, or the exact reason."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tests.cache.pictures.handmade import chunk, png, saved, tiff
from ulfine_cache.pictures.pixel_range import Range
from ulfine_cache.pictures.pixels import UndecodableImage, decode, decode_with_notes


def greys(data, **options):
    """The first row of a picture of which all pixels are grey, and its notes."""
    found = decode_with_notes(data, **options)
    row = np.asarray(found.picture)[0]
    assert (row == row[:, :1]).all()
    return row[:, 0].tolist(), list(found.notes)


def colours(data, **options):
    return np.asarray(decode_with_notes(data, **options).picture)[0].tolist()


def words(*values, kind=np.uint16):
    return np.array([values], kind)


OWN = "of {} values stretched from the smallest to the largest"
TWELVE = words(0, 256, 2048, 4095)
AS_TWELVE = ([0, 16, 128, 255], ["of 16-bit values 0..4095 read as 12-bit"])


@pytest.mark.parametrize(
    "data",
    [
        png(TWELVE, 16, 0),
        tiff(TWELVE),
        tiff(TWELVE, order=">"),
        tiff(TWELVE, deflate=True),
        tiff(TWELVE, big=True),
        b"P5 4 1 65535\n" + TWELVE.astype(">u2").tobytes(),
    ],
    ids=["png", "tiff", "big-endian tiff", "deflated tiff", "bigtiff", "pgm"],
)
def test_grey__twelve_bits_in_sixteen(data):
    values, notes = greys(data)
    assert values == AS_TWELVE[0]
    assert notes in (AS_TWELVE[1], ["of integer values 0..4095 read as 12-bit"])
    assert greys(data, pixel_range=Range(0, 65535))[0] == [0, 1, 8, 16]
    assert greys(data, pixel_range=Range(0, 4095)) == (
        [0, 16, 128, 255],
        [notes[0].replace("0..4095 read as 12-bit", "read as 0..4095 (--pixel-range)")],
    )


def test_grey__sixteen_bits_are_as_before():
    values = words(0, 128, 129, 257, 4096, 32896, 65406, 65407, 65535)
    for data in (png(values, 16, 0), tiff(values), tiff(values, order=">")):
        assert greys(data) == ([0, 0, 1, 1, 16, 128, 254, 255, 255], ["of 16-bit values read as 0..65535"])


def test_grey__white_is_0():
    assert greys(tiff(words(0, 2048, 4095), photometric=0))[0] == [255, 127, 0]
    assert greys(tiff(words(0.0, 0.25, 1.0, kind=np.float32), photometric=0))[0] == [255, 191, 0]
    assert greys(tiff(words(0, 100, kind=np.uint8), photometric=0))[0] == [255, 155]


def test_grey__what_the_file_says_comes_before_its_values():
    said = ["of 16-bit values scaled by what the file says of them"]
    assert greys(tiff(words(0, 512, 1023), tags={341: (3, [1023])})) == ([0, 128, 255], said)
    assert greys(tiff(words(100, 512, 1023), tags={340: (3, [100]), 341: (3, [1100])}))[0] == [0, 105, 235]
    floats = tiff(words(0, 250, 500, kind=np.float32), tags={340: (11, [0.0]), 341: (11, [500.0])})
    assert greys(floats) == ([0, 128, 255], ["of float values scaled by what the file says of them"])
    # Unless it cannot be so.
    assert greys(tiff(words(0, 2048, 4095), tags={341: (3, [1023])})) == ([0, 128, 255], AS_TWELVE[1])
    # Twelve bits are twelve, however dark.
    packed = tiff(np.array([[0x0F, 0xF0, 0x00]], np.uint8), tags={256: (4, [2]), 258: (3, [12])})
    assert greys(packed) == ([16, 0], said)
    # The largest value of a PGM file is what it says, too.
    assert greys(b"P5 3 1 4095\n" + words(0, 200, 400).astype(">u2").tobytes())[0] == [0, 12, 25]
    assert greys(b"P2 # text\n2 1 1000\n0 500\n")[0] == [0, 128]


def test_grey__jpeg_2000_is_scaled_by_its_bits():
    data = saved(Image.fromarray(words(*[0, 4096, 65535] * 8)), "JPEG2000", irreversible=False)
    assert greys(data)[0][:3] == [0, 16, 255]
    dark = saved(Image.fromarray(words(*[0, 2048, 4080] * 8)), "JPEG2000", irreversible=False)
    assert greys(dark)[0][:3] == [0, 128, 254]
    # The same, if the file says that its values have twelve bits: Pillow makes sixteen of them.
    size = dark.index(b"\xff\x51") + 4 + 36
    assert dark[size] == 15
    assert greys(dark[:size] + b"\x0b" + dark[size + 1 :])[1] == [
        "of 16-bit values scaled by what the file says of them"
    ]


@pytest.mark.parametrize(
    ("values", "kind", "expected", "note"),
    [
        ((0, 0.5, 1.02), np.float32, [0, 128, 255], "of float values read as 0..1"),
        ((0, 500, 1000), np.float32, [0, 128, 255], OWN.format("float")),
        ((-1, 0, 1), np.float32, [0, 128, 255], "of float values read as -1..1"),
        ((0, 100, 255), np.float32, [0, 100, 255], "of float values read as 0..255"),
        ((-1024, 1024, 3071), np.int16, [0, 128, 255], OWN.format("integer")),
        ((0, 100, 255), np.int32, [0, 100, 255], "of integer values 0..255 read as 8-bit"),
        (
            (0, 2**31, 2**32 - 1),
            np.uint32,
            [0, 128, 255],
            OWN.format("integer"),
        ),
    ],
)
def test_grey__floats_and_integers_of_32_bits(values, kind, expected, note):
    assert greys(tiff(words(*values, kind=kind))) == (expected, [note])
    assert greys(tiff(words(*values, kind=kind), deflate=True)) == (expected, [note])


def test_grey__chosen_range_of_floats():
    data = tiff(words(0, 500, 1000, kind=np.float32))
    assert greys(data, pixel_range=Range(0, 2000)) == (
        [0, 64, 128],
        ["of float values read as 0..2000 (--pixel-range)"],
    )


def test_grey__portable_float_map():
    data = b"Pf\n3 1\n-1.0\n" + np.array([0, 0.5, 1], "<f4").tobytes()
    assert greys(data) == ([0, 128, 255], ["of float values read as 0..1"])


def test_grey__transparent_value_of_a_png_is_white():
    values = words(0, 32896, 65535, 32897)
    assert greys(png(values, 16, 0, chunk(b"tRNS", struct.pack(">H", 32896))))[0] == [0, 255, 255, 128]
    assert greys(png(TWELVE, 16, 0, chunk(b"tRNS", struct.pack(">H", 0))))[0] == [255, 16, 128, 255]


RGB12 = np.array([[[0, 2048, 4095], [256, 16, 8]]], np.uint16)
RGB16 = np.array([[[0, 0x80FF, 0xFFFF], [0xFFFF, 0x0100, 0x00FF]]], np.uint16)


@pytest.mark.parametrize("options", [{}, {"order": ">"}, {"deflate": True}, {"order": ">", "deflate": True}], ids=str)
def test_colours__of_a_tiff(options):
    data = tiff(RGB12, **options)
    assert colours(data) == [[0, 128, 255], [16, 1, 0]]
    assert decode_with_notes(data).notes == tuple(AS_TWELVE[1])
    # Pillow's upper bytes, as before.
    data = tiff(RGB16, **options)
    assert colours(data) == [[0, 0x80, 0xFF], [0xFF, 1, 0]]
    assert decode_with_notes(data).notes == ("of 16-bit values read as 0..65535",)
    assert colours(data, pixel_range=Range(0, 0x101)) == [[0, 255, 255], [255, 254, 253]]


def test_colours__of_a_png():
    # One value above 4095 is enough.
    bright = RGB12.copy()
    bright[0, 0, 0] = 4096
    assert colours(png(bright, 16, 2)) == [[16, 8, 15], [1, 0, 0]]
    assert colours(png(RGB12, 16, 2)) == [[0, 128, 255], [16, 1, 0]]
    assert colours(png(RGB16, 16, 2)) == [[0, 0x80, 0xFF], [0xFF, 1, 0]]
    assert colours(png(RGB16, 16, 2), pixel_range=Range(0, 0x101)) == [[0, 255, 255], [255, 254, 253]]
    assert decode_with_notes(png(RGB12, 16, 2)).notes == tuple(AS_TWELVE[1])


def test_colours__with_transparency():
    opaque, clear = [0xFFFF], [0]
    values = np.array([[[0, 2048, 4095, *opaque], [0, 2048, 4095, *clear], [0, 0, 0, 0x8000]]], np.uint16)
    for data in (png(values, 16, 6), tiff(values, tags={338: (3, [2])})):
        assert colours(data) == [[0, 128, 255], [255, 255, 255], [127, 127, 127]]
    grey = np.array([[[2048, *opaque], [4095, *opaque], [2048, *clear]]], np.uint16)
    assert greys(png(grey, 16, 4))[0] == [128, 255, 255]
    bright = np.array([[[0x80FF, *opaque], [0x1000, *clear]]], np.uint16)
    assert greys(png(bright, 16, 4))[0] == [0x80, 255]


def test_colours__transparent_value_of_a_png_is_white():
    # Of both pixels the upper bytes are the transparent colour's; and eight-bit values are not its lower bytes.
    values = np.array([[[0x1122, 0x3344, 0x5566], [0x1123, 0x3344, 0x5566], [0x2200, 0x4400, 0x6600]]], np.uint16)
    data = png(values, 16, 2, chunk(b"tRNS", struct.pack(">3H", 0x1122, 0x3344, 0x5566)))
    assert colours(data) == [[255, 255, 255], [0x11, 0x33, 0x55], [0x22, 0x44, 0x66]]
    dark = png(RGB12, 16, 2, chunk(b"tRNS", struct.pack(">3H", 256, 16, 8)))
    assert colours(dark) == [[0, 128, 255], [255, 255, 255]]


def test_colours__turned_upright():
    """The second look at the file goes the same way as the first."""
    upright = np.arange(4 * 6 * 3, dtype=np.uint16).reshape(4, 6, 3) * 50
    expected = np.rint(upright * 255.0 / 4095).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = np.ascontiguousarray(np.rot90(upright))
    np.testing.assert_array_equal(np.asarray(decode(png(turned, 16, 2, chunk(b"eXIf", exif.tobytes()[6:])))), expected)
    np.testing.assert_array_equal(np.asarray(decode(tiff(turned, tags={274: (3, [6])}))), expected)


@pytest.mark.parametrize("order", ["<", ">"])
def test_colours__in_separate_planes_are_refused(order):
    """Pillow would take every byte for a value."""
    why = r"^TIFF of 3 x 16-bit values in separate planes, which is not read: save it as PNG$"
    with pytest.raises(UndecodableImage, match=why):
        decode(tiff(RGB16, planes=True, order=order))
    # Eight bits are read, and so is what libtiff expands, unless the lower bytes are wanted.
    assert colours(tiff(np.array([[[1, 2, 3]]], np.uint8), planes=True)) == [[1, 2, 3]]
    deflated = tiff(RGB16, planes=True, deflate=True, order=order)
    assert colours(deflated) == [[0, 0x80, 0xFF], [0xFF, 1, 0]]
    with pytest.raises(UndecodableImage, match="in separate planes"):
        decode(deflated, pixel_range=Range(0, 4095))


def test_eight_bits__no_range_touches_them():
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        found = decode_with_notes(saved(Image.fromarray(values), kind), pixel_range=Range(0, 1))
        np.testing.assert_array_equal(np.asarray(found.picture), values)
        assert found.notes == ()


def test_pages__the_first_is_read_and_that_is_said():
    pages = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "green")]
    found = decode_with_notes(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert found.picture.getpixel((1, 1)) == (255, 0, 0)
    assert found.notes == ("of several pages, of which the first is read",)
    two = decode_with_notes(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:2]))
    assert two.notes == found.notes
    assert decode_with_notes(saved(pages[0], "TIFF")).notes == ()


def test_pages__a_preview_in_front_is_passed_over():
    small, large = Image.new("RGB", (2, 2), "blue"), Image.new("RGB", (64, 48), "red")
    buffer = io.BytesIO()
    small.save(buffer, "TIFF", save_all=True, append_images=[large], tiffinfo={254: 1})
    data = bytearray(buffer.getvalue())
    # Pillow writes the tag to both pages.
    tag = struct.pack("<HHII", 254, 4, 1, 1)
    data[data.rindex(tag) : data.rindex(tag) + 12] = struct.pack("<HHII", 254, 4, 1, 0)
    found = decode_with_notes(bytes(data))
    assert (found.picture.size, found.picture.getpixel((1, 1)), found.notes) == ((64, 48), (255, 0, 0), ())
    with pytest.raises(UndecodableImage, match=r"^too large: 64 x 48 pixels$"):
        decode(bytes(data), max_pixels=64 * 48 - 1)
