"""Decoding: what a person would see, and one reason for what nobody can see."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ulfine_cache.pixels import UndecodableImage, decode


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_decode__rgb_is_unchanged():
    values = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    image = decode(encoded(Image.fromarray(values)))
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), values)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode__exif_orientation(orientation):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, 0] = 255  # one white corner says which way is up
    # How a camera stores the upright picture under each orientation (Exif 2.32: row 0 is top, right, bottom, ...).
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
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)
    np.testing.assert_array_equal(np.asarray(decode(data)), upright)


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
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert np.asarray(decode(encoded(Image.fromarray(values))))[0, :, 0].tolist() == [0, 1, 128, 255]
    assert np.asarray(decode(encoded(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_decode__floats_and_32_bits():
    floats = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    assert np.asarray(decode(encoded(floats, "TIFF")))[0, :, 1].tolist() == [0, 128, 255]
    integers = Image.fromarray(np.array([[0, 65535]], np.int32))
    assert np.asarray(decode(encoded(integers, "TIFF")))[0, :, 1].tolist() == [0, 255]


def test_decode__cmyk_is_not_inverted():
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = decode(encoded(image, "JPEG", quality=95)).getpixel((4, 4))
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


def test_decode__bomb_is_refused_by_its_header():
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    with pytest.raises(UndecodableImage, match="too large"):
        decode(data)


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
