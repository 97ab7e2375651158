"""Decoding: what a person would see, and one reason for what nobody can see."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ulfine_cache.pictures import over_white
from ulfine_cache.pictures.pixels import UndecodableImage, decode, decoding_bytes


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_decode__rgb_is_unchanged():
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image = decode(encoded(Image.fromarray(values)))
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), values)


def turned(upright, orientation):
    """Return how a camera stores the upright picture (Exif 2.32: row 0 is top, right, bottom, ...)."""
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Image.fromarray(np.ascontiguousarray(stored)), exif


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode__exif_orientation(orientation, kind):
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:8, :8] = 255  # one white corner says which way is up
    stored, exif = turned(upright, orientation)
    data = encoded(stored, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    np.testing.assert_array_equal(np.asarray(decode(data)), upright)


def smooth(height, width):
    rows, columns = np.mgrid[:height, :width]
    values = np.stack(
        [rows * 255 / height, columns * 255 / width, 128 + 100 * np.sin(rows / 17) * np.cos(columns / 23)]
    )
    return values.transpose(1, 2, 0).astype(np.uint8)


@pytest.mark.parametrize(
    ("draft", "size"),
    [
        ((400, 300), (400, 300)),
        ((401, 300), (800, 600)),
        ((200, 150), (200, 150)),
        ((150, 200), (400, 300)),
        ((100, 76), (200, 150)),
        ((100, 75), (100, 75)),
        ((1, 1), (100, 75)),
        ((1000, 1000), (800, 600)),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_decode__draft_is_smaller_but_not_below(draft, size, orientation):
    stored, exif = turned(smooth(600, 800), orientation)
    data = encoded(stored, "JPEG", quality=95, exif=exif)
    image = decode(data, draft=draft)
    assert image.size == size
    # And the same picture.
    whole = decode(data).resize(size, Image.Resampling.BOX)
    assert np.abs(np.asarray(image, int) - np.asarray(whole, int)).mean() < 1


def test_decode__draft_leaves_other_files_alone():
    for kind in ("PNG", "BMP", "TIFF", "GIF"):
        data = encoded(Image.fromarray(smooth(64, 64)), kind)
        np.testing.assert_array_equal(np.asarray(decode(data, draft=(4, 4))), np.asarray(decode(data)))
    narrow = encoded(Image.fromarray(smooth(500, 1)), "JPEG")
    assert decode(narrow, draft=(4, 4)).size == (1, 500)
    grey = encoded(Image.fromarray(smooth(64, 64)).convert("L"), "JPEG")
    assert decode(grey, draft=(8, 8)).size == (8, 8)
    cmyk = encoded(Image.fromarray(smooth(64, 64)).convert("CMYK"), "JPEG")
    assert decode(cmyk, draft=(8, 8)).size == (8, 8)
    with pytest.raises(UndecodableImage, match="truncated"):
        decode(grey[:-40], draft=(8, 8))


def test_decode__alpha_shows_white():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    assert np.asarray(decode(encoded(image))).tolist() == [[[255, 0, 0], [255, 255, 255]]]
    half = decode(encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128)))).getpixel((0, 0))
    assert half == (127, 127, 127)


def test_decode__grey_with_alpha_and_palette_with_transparency():
    assert decode(encoded(Image.new("LA", (1, 1), (9, 0)))).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert np.asarray(decode(encoded(palette))).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert np.asarray(decode(encoded(palette, transparency=1))).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_decode__sixteen_bits_are_scaled():
    values = np.array([[0, 128, 129, 257, 32896, 65406, 65407, 65535]], np.uint16)
    expected = [0, 0, 1, 1, 128, 254, 255, 255]
    for kind in ("PNG", "TIFF"):
        assert np.asarray(decode(encoded(Image.fromarray(values), kind)))[0, :, 0].tolist() == expected


def test_decode__floats_and_32_bits():
    floats = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    assert np.asarray(decode(encoded(floats, "TIFF")))[0, :, 1].tolist() == [0, 128, 255]
    integers = Image.fromarray(np.array([[0, 65535]], np.int32))
    assert np.asarray(decode(encoded(integers, "TIFF")))[0, :, 1].tolist() == [0, 255]


def test_decode__sixteen_bit_colours():
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    pixels = b"\0" + struct.pack(">6H", 0, 32768, 65535, 65535, 256, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    assert np.asarray(decode(data)).tolist() == [[[0, 128, 255], [255, 1, 0]]]


def test_decode__cmyk_is_not_inverted():
    # Photoshop and Pillow store the inverse and say so with an Adobe marker.
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    assert b"Adobe" in data
    tiff = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")
    for file in (data, tiff):
        red, green, blue = decode(file).getpixel((4, 4))
        assert red > 240
        assert green < 15
        assert blue < 15


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_decode__first_frame_of_an_animation(kind):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert decode(data).getpixel((1, 1)) == (255, 0, 0)


def test_decode__one_bit():
    assert decode(encoded(Image.new("1", (1, 1), 1))).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_decode__truncated_is_an_error(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(UndecodableImage):
        decode(data[: len(data) // 2])


def test_decode__reasons():
    with pytest.raises(UndecodableImage, match=r"^empty file$"):
        decode(b"")
    with pytest.raises(UndecodableImage, match=r"^not an image$"):
        decode(b"this is a text")
    with pytest.raises(UndecodableImage, match=r"^too large: 300 x 200 pixels$"):
        decode(encoded(Image.new("RGB", (300, 200))), max_pixels=59_999)


def test_decode__reads_the_content_whatever_the_name():
    assert decode(encoded(Image.new("RGB", (2, 2)), "JPEG2000")).size == (2, 2)
    # Pillow would let Ghostscript run this.
    with pytest.raises(UndecodableImage, match=r"^not an image$"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")


@pytest.mark.parametrize("size", [(1, 1), (1, 100_000), (100_000, 1)])
def test_decode__odd_sizes(size):
    assert decode(encoded(Image.new("RGB", size))).size == size


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_bytes(data, after, skip, value):
    """Overwrite bytes some way behind a mark."""
    data = bytearray(data)
    start = data.index(after) + len(after) + skip
    data[start : start + len(value)] = value
    return bytes(data)


def bombs():
    """Small files that claim to be, or would become, enormous."""
    small = Image.new("RGB", (16, 16), "red")
    png, grey = encoded(small), encoded(Image.new("L", (1, 1)), "GIF")
    yield "png", png[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)) + png[33:]
    yield "gif-screen", with_bytes(grey, b"GIF87a", 0, struct.pack("<HH", 60_000, 60_000))
    yield "gif-frame", with_bytes(grey, b",", 4, struct.pack("<HH", 60_000, 60_000))
    tiff = encoded(small, "TIFF")
    for tag in (256, 257):
        tiff = with_bytes(tiff, struct.pack("<H", tag) + b"\4\0\1\0\0\0", 0, struct.pack("<I", 60_000))
    yield "tiff", tiff
    frames = encoded(small, "WEBP", save_all=True, append_images=[Image.new("RGB", (16, 16), "blue")])
    yield "webp", with_bytes(frames, b"VP8X", 8, b"\xfe\x3f\0" * 2)
    yield "bmp", with_bytes(encoded(small, "BMP"), b"BM", 16, struct.pack("<ii", 60_000, 60_000))
    yield "jpeg", with_bytes(encoded(small, "JPEG"), b"\xff\xc0", 3, struct.pack(">HH", 60_000, 60_000))
    yield "ppm", b"P6 60000 60000 255\n" + bytes(100)
    # 256 MB of text, of a profile, and of many texts.
    zeros = zlib.compressobj(1)
    much = b"".join(zeros.compress(bytes(1 << 24)) for _ in range(16)) + zeros.flush()
    some = zlib.compress(bytes(1_000_000), 1)
    for name, extra in (
        ("text", chunk(b"zTXt", b"Comment\0\0" + much)),
        ("unicode", chunk(b"iTXt", b"Comment\0\1\0\0\0" + much)),
        ("profile", chunk(b"iCCP", b"icc\0\0" + much)),
        ("texts", b"".join(chunk(b"zTXt", b"%d\0\0" % number + some) for number in range(256))),
    ):
        yield name, png[:33] + extra + png[33:]
    yield "text-behind", png[:-12] + chunk(b"zTXt", b"Comment\0\0" + much) + png[-12:]


def test_decode__bombs_are_refused_without_the_memory(tmp_path):
    files = dict(bombs())
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    # In a process of its own, whose memory can be limited to what Python, NumPy and Pillow take and some more.
    script = """
import pathlib, resource, sys
from ulfine_cache.pictures.pixels import UndecodableImage, decode
taken = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + (200 << 20),) * 2)
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        decode(path.read_bytes())
    except UndecodableImage as error:
        sys.stdout.write(f"{path.name}: {error}\\n")
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("the limit needs Linux")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stderr == ""
    reasons = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert reasons.keys() == files.keys()
    assert {name for name, why in reasons.items() if why == "too large: its metadata"} == {
        *("text", "unicode", "profile", "texts", "text-behind")
    }
    # The JPEG holds too little for its size, which its structure shows before anything else is looked at.
    assert reasons.pop("jpeg") == "truncated file"
    # Pillow before 13 asks for a WebP's canvas, whose memory it does not touch, before it judges the size.
    if reasons["webp"] == "cannot be decoded: could not create decoder object":
        del reasons["webp"]
    assert [name for name, why in reasons.items() if not why.startswith("too large: ")] == [], reasons


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]),
    position=st.floats(0, 1, exclude_max=True),
    value=st.integers(0, 255),
    cut=st.booleans(),
)
def test_decode__damaged_bytes_give_a_picture_or_a_reason(kind, position, value, cut):
    data = bytearray(encoded(Image.linear_gradient("L").resize((24, 16)).convert("RGB"), kind))
    at = int(position * len(data))
    data[at] = value
    if cut:
        del data[at + 1 :]
    try:
        assert decode(bytes(data), max_pixels=10_000_000).mode == "RGB"
    except UndecodableImage as error:
        assert str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I", "F", "I;16"])
def test_decode__the_same_in_strips_of_any_height(monkeypatch, mode):
    """What is transparent or of more than 8 bits goes strip by strip to RGB, so that it takes no more memory."""
    generator = np.random.default_rng(0)
    shape = (37, 23)
    if mode in ("RGBA", "LA", "P", "L"):
        image = Image.fromarray(generator.integers(0, 256, (*shape, 4), dtype=np.uint8)).convert(mode)
    else:
        kind = {"I": np.int32, "F": np.float32, "I;16": np.uint16}[mode]
        image = Image.fromarray((generator.random(shape) * 60_000).astype(kind))
    buffer = io.BytesIO()
    options = {"transparency": 3} if mode in ("P", "L") else {}
    image.save(buffer, "TIFF" if mode in ("I", "F") else "PNG", **options)
    whole = np.asarray(decode(buffer.getvalue()))
    for pixels in (1, 23, 100, 850):
        monkeypatch.setattr(over_white, "STRIP_PIXELS", pixels)
        assert np.array_equal(np.asarray(decode(buffer.getvalue())), whole)


def test_decoding_bytes__by_the_header_alone():
    sizes = {}
    for kind in ("PNG", "JPEG", "WEBP"):
        buffer = io.BytesIO()
        Image.new("RGB", (3000, 2000)).save(buffer, kind)
        sizes[kind] = decoding_bytes(buffer.getvalue())
        assert 6_000_000 * 8 < sizes[kind] < 6_000_000 * 32
        if kind != "WEBP":
            assert decoding_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2]) == sizes[kind]
    assert sizes["WEBP"] > sizes["PNG"] == sizes["JPEG"]
    for data, reason in ((b"", "empty"), (b"hello", "not an image"), (buffer.getvalue(), "too large")):
        with pytest.raises(UndecodableImage, match=reason):
            decoding_bytes(data, max_pixels=1000)
