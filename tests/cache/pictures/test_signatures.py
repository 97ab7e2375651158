"""What a file is by its first bytes, and what is said of those that are not read."""

import gzip
import io

import numpy as np
import pytest
from PIL import Image

from tests.cache.pictures.handmade import saved, tiff
from ulfine_cache.pictures.pixels import UndecodableImage, decode
from ulfine_cache.pictures.signatures import HEAD_BYTES, kind_of
from ulfine_cache.sources.words.image_names import is_image_head

RAW = "camera raw file ({}), which is not read: develop it to JPEG, PNG or TIFF"


def reason(data):
    with pytest.raises(UndecodableImage) as caught:
        decode(data)
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<!DOCTYPE html>\n<html><body>404", "HTML page, not an image: download the image again"),
        (b"\xef\xbb\xbf \n<html lang='en'>", "HTML page, not an image: download the image again"),
        (b"<?xml version='1.0'?>\n<!DOCTYPE html PUBLIC", "HTML page, not an image: download the image again"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "XML text, not an image: download the image again"),
        (b"<Error><Code>NoSuchKey</Code>", "XML text, not an image: download the image again"),
        (b'{"message": "rate limit"}', "JSON text, not an image: download the image again"),
        (b'[\n {"a": 1}]', "JSON text, not an image: download the image again"),
        (b"<?xml version='1.0'?><svg xmlns=", "SVG drawing, not an image: save it as PNG"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
            "Git LFS pointer, not an image: fetch the image with `git lfs pull`",
        ),
        (b"8BPS\0\1" + bytes(20), "Photoshop document (PSD), which is not read: save it as PNG"),
        (b"DDS |\0\0\0" + bytes(200), "DDS texture, which is not read: save it as PNG"),
        (
            b"\x76\x2f\x31\x01\2\0\0\0channels\0",
            "OpenEXR, which is not read: it holds light and no white, so tone-map it to an 8-bit PNG",
        ),
        (
            bytes(128) + b"DICM\2\0\0\0UL",
            "DICOM, which is not read: convert it to PNG, "
            "which takes somebody who says which values are black and white",
        ),
        (b"%PDF-1.7\n", "PDF, not an image: save its pages as PNG"),
        (
            b"II\x1a\0\0\0HEAPCCDR\2\0",
            RAW.format("Canon CRW"),
        ),
        (
            b"FUJIFILMCCD-RAW 0201FF",
            RAW.format("Fujifilm RAF"),
        ),
        (
            b"\0\0\0\x18ftypcrx \0\0\0\1",
            RAW.format("Canon CR3"),
        ),
        (b"II*\0\x10\0\0\0CR\2\0", RAW.format("Canon CR2")),
        (b"\0\0\0\x18ftypisom\0\0\2\0", "video, not an image: save single pictures of it"),
        (b"PF\n2 2\n-1\n", "PAM or PFM, which is not read: save it as PNG"),
        (b"\0\0\x01\0\1\0\x10\x10", "icon (ICO), which is not read: save it as PNG"),
    ],
)
def test_kinds__that_are_not_read_are_named_with_the_way_out(data, expected):
    assert reason(data) == expected


def test_kinds__a_compressed_picture():
    assert reason(gzip.compress(saved(Image.new("RGB", (4, 4))))) == "gzip archive, not an image: expand it first"


@pytest.mark.parametrize("data", [b"this is a text", b"{not json", bytes(500)])
def test_kinds__what_nobody_knows_is_not_an_image(data):
    assert kind_of(data) is None
    assert reason(data) == "not an image"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("JPEG", "JPEG"), ("PNG", "PNG"), ("GIF", "GIF"), ("WebP", "WEBP"), ("BMP", "BMP"), ("TIFF", "TIFF")),
        *(("PPM", "PPM"), ("AVIF", "AVIF"), ("JPEG 2000", "JPEG2000")),
    ],
)
def test_kinds__that_are_read(name, kind):
    data = saved(Image.new("RGB", (16, 16), "red"), kind)
    found = kind_of(data)
    assert found is not None
    assert (found.name, found.refusal) == (name, "")
    # A listing sees no more than the first bytes.
    assert kind_of(data[:HEAD_BYTES]) == found
    assert is_image_head(data[:HEAD_BYTES])
    assert decode(data).getpixel((8, 8))[0] > 240


def test_kinds__brands_that_several_formats_share():
    def name(*brands):
        found = kind_of(b"\0\0\0\x20ftyp" + brands[0] + bytes(4) + b"".join(brands[1:]))
        return found and found.name

    assert name(b"mif1", b"mif1", b"avif") == "AVIF"
    assert name(b"mif1", b"mif1", b"heic") == "HEIC"
    assert name(b"heic", b"mif1", b"avif") == "HEIC"
    assert name(b"none", b"mif1") is None


def test_kinds__a_codestream_without_boxes_and_large_tiff():
    picture = Image.new("RGB", (16, 16), "red")
    for data in (saved(picture, "JPEG2000", no_jp2=True), saved(picture, "TIFF", big_tiff=True)):
        assert is_image_head(data[:HEAD_BYTES])
        assert decode(data).getpixel((8, 8)) == (255, 0, 0)
    assert decode(tiff(np.full((3, 2, 3), 9, np.uint8), big=True)).getpixel((1, 2)) == (9, 9, 9)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (np.ones((4, 4, 3), np.float32), {}, "3 x 32-bit float values"),
        (np.ones((4, 4), np.float64), {}, "64-bit float values"),
        (np.ones((4, 4), np.float16), {}, "16-bit float values"),
        (np.ones((4, 4, 3), np.int16), {"order": ">"}, "3 x 16-bit signed values"),
        (np.ones((4, 4), np.uint8), {"tags": {259: (3, [65000])}}, "8-bit values, compression 65000"),
    ],
)
def test_tiff__that_pillow_does_not_read(values, options, words):
    assert reason(tiff(values, **options)) == f"TIFF of {words}, which is not read: save it as PNG"


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000"])
def test_known_kinds__with_a_damaged_header_are_not_called_no_image(kind):
    data = saved(Image.new("RGB", (16, 16)), kind)
    for length in (12, 16, 20, 30, 40):
        assert reason(data[:length]) != "not an image"


def test_images_by_content__only_images_are_listed():
    assert not is_image_head(b"<!DOCTYPE html>")
    assert not is_image_head(gzip.compress(b""))
    assert not is_image_head(b"")
    assert is_image_head(b"8BPS\0\1")
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    assert is_image_head(buffer.getvalue()[:HEAD_BYTES])
