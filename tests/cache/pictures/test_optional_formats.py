"""HEIC and JPEG XL: read where their packages are, named where they are not, and bounded before they are decoded."""

import importlib
import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ulfine_cache.pictures import opening
from ulfine_cache.pictures.pixel_range import Range
from ulfine_cache.pictures.pixels import UndecodableImage, decode, decode_with_notes
from ulfine_cache.pictures.structure.jpegxl import jpegxl_size

VALUES = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
RED = Image.new("RGB", (300, 200), (250, 10, 20))


def heic(image, **options):
    package = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    package.from_pillow(image).save(buffer, format="HEIF", **({"quality": -1, "chroma": 444} | options))
    return buffer.getvalue()


def jxl(image, **options):
    pytest.importorskip("pillow_jxl")
    buffer = io.BytesIO()
    image.save(buffer, "JXL", **({"lossless": True} | options))
    return buffer.getvalue()


def reason(data, **options):
    with pytest.raises(UndecodableImage) as caught:
        decode(data, **options)
    return str(caught.value)


def test_heic__pixels():
    picture = decode(heic(RED))
    assert (picture.mode, picture.size) == ("RGB", (300, 200))
    assert np.abs(np.asarray(picture, int) - (250, 10, 20)).max() <= 2
    smooth = np.stack(np.mgrid[:64, :64, :3][:2] * 4)[..., 0].sum(axis=0).clip(0, 255).astype(np.uint8)
    grey = decode(heic(Image.fromarray(smooth)))
    assert np.abs(np.asarray(grey, int)[..., 0] - smooth).max() <= 2


def test_heic__transparency_and_orientation():
    clear = Image.new("RGBA", (64, 64), (255, 0, 0, 255))
    clear.paste((0, 0, 0, 0), (0, 0, 64, 32))
    picture = decode(heic(clear))
    assert np.abs(np.subtract(picture.getpixel((32, 8)), (255, 255, 255))).max() <= 2
    assert np.abs(np.subtract(picture.getpixel((32, 56)), (255, 0, 0))).max() <= 2
    # As a phone that is held upright writes it: stored lying, with the turn in the file. Turned once, not twice.
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.new("RGB", (64, 32), "white")
    stored.paste("black", (0, 0, 16, 32))
    data = heic(stored, exif=exif.tobytes())
    assert b"irot" in data
    upright = decode(data)
    assert upright.size == (32, 64)
    assert upright.getpixel((16, 4))[0] < 10
    assert upright.getpixel((16, 60))[0] > 245


def test_heic__ten_bits_are_scaled_by_the_file():
    grey = np.tile(np.arange(0, 65536, 1024, dtype=np.uint16), (64, 1))
    found = decode_with_notes(heic(Image.fromarray(grey)))
    assert np.abs(np.asarray(found.picture, int)[..., 0] - grey / 257).max() <= 2
    assert found.notes == ("of 16-bit values read as 0..65535",)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
@pytest.mark.parametrize("container", [False, True])
def test_jxl__pixels(mode, container):
    image = Image.fromarray(VALUES).convert(mode)
    found = decode(jxl(image, use_container=container))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(image.convert("RGB")))


def test_jxl__transparency_shows_white():
    image = Image.new("RGBA", (2, 1), (9, 8, 7, 255))
    image.putpixel((1, 0), (9, 8, 7, 0))
    assert np.asarray(decode(jxl(image))).tolist() == [[[9, 8, 7], [255, 255, 255]]]


def test_jxl__more_than_eight_bits():
    pytest.importorskip("pillow_jxl")
    # Lossless, of the uint16 values 0, 256, 2048 and 4095: the plugin reads them in all its releases, and writes them
    # since 1.3.8.
    values = bytes.fromhex("ff0a000006e007285a040800010034004b188b15c261b2c2340000e67f")
    found = decode_with_notes(values)
    assert np.asarray(found.picture)[0, :, 0].tolist() == [0, 16, 128, 255]
    assert found.notes == ("of 16-bit values 0..4095 read as 12-bit",)
    assert np.asarray(decode(values, pixel_range=Range(0, 65535)))[0, :, 0].tolist() == [0, 1, 8, 16]
    # Of the float32 values 0, 0.1 and 0.2.
    floats = "ff0a00000490038a16010800010044004b188b1542fa04f98f353333f79899c901"
    found = decode_with_notes(bytes.fromhex(floats))
    # 1 is white in the format, however dark the picture is.
    assert np.abs(np.subtract(np.asarray(found.picture)[0, :, 0].tolist(), [0, 25.5, 51])).max() <= 1
    assert found.notes == ("of float values scaled by what the file says of them",)


def test_jxl__a_jpeg_inside_is_read_as_the_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(VALUES).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        data = jxl(image, lossless_jpeg=True)
    picture = decode(data)
    assert picture.size == (24, 32)
    np.testing.assert_array_equal(np.asarray(picture), np.asarray(decode((tmp_path / "a.jpg").read_bytes())))
    assert decode(data, draft=(4, 5)).size == decode((tmp_path / "a.jpg").read_bytes(), draft=(4, 5)).size == (6, 8)


def test_jxl__orientation_of_the_metadata_does_not_count():
    """The codestream has its own, which the decoder applies (18181-2)."""
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(jxl(RED, exif=exif.tobytes())).size == (300, 200)


@pytest.mark.parametrize(
    "size",
    [
        *((1, 1), (7, 5), (1000, 1), (1, 1000), (70_000, 1), (264, 8)),
        # The ratios that have a number of their own, in steps of eight and not.
        *((8, 8), (300, 200), (256, 256), (1600, 900), (240, 200), (12, 10), (640, 480), (75, 60), (50, 25)),
    ],
)
def test_jxl__size_by_the_header(size):
    for options in ({}, {"use_container": True}):
        assert jpegxl_size(jxl(Image.new("L", size), effort=1, **options)) == size
    assert jpegxl_size(b"\xff\x0a") is None
    assert jpegxl_size(b"\0\0\0\x0cJXL \r\n\x87\n") is None


def test_limits__judged_by_the_header():
    assert reason(heic(RED), max_pixels=59_999) == "too large: 300 x 200 pixels"
    assert reason(jxl(RED), max_pixels=59_999) == "too large: 300 x 200 pixels"
    huge = heic(RED).replace(struct.pack(">II", 300, 200), struct.pack(">II", 60_000, 60_000))
    assert reason(huge).startswith(("too large: 60000 x 60000 pixels", "too large: Image size 60000x60000 exceeds"))
    # Small by its header and large inside: libheif compares them.
    large = heic(Image.new("RGB", (4096, 4096)), quality=1)
    hidden = large.replace(struct.pack(">II", 4096, 4096), struct.pack(">II", 16, 16))
    assert reason(hidden).startswith("too large: Image size 4096x4096 exceeds the maximum")
    # 2^30 x 2^30 in the fewest bytes: the selector 3, and thirty bits, twice.
    bits = 0b0 | 0b11 << 1 | (2**30 - 1) << 3 | 0 << 33 | 0b11 << 36 | (2**30 - 1) << 38
    assert reason(b"\xff\x0a" + bits.to_bytes(16, "little")) == "too large: 1073741824 x 1073741824 pixels"


@pytest.mark.parametrize("make", [heic, jxl])
def test_cut_off__is_an_error(make):
    data = make(Image.fromarray(VALUES))
    for length in (len(data) // 2, len(data) - 20):
        assert reason(data[:length]).startswith(("truncated file", "cannot be decoded: "))


@settings(max_examples=60, deadline=None)
@given(make=st.sampled_from([heic, jxl]), position=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_damaged_bytes__give_a_picture_or_a_reason(make, position, value):
    data = bytearray(make(Image.fromarray(VALUES)))
    data[int(position * len(data))] = value
    try:
        assert decode(bytes(data), max_pixels=10_000_000).mode == "RGB"
    except UndecodableImage as error:
        assert "\n" not in str(error)


def test_jxl__a_panic_of_its_decoder_is_a_reason_and_an_interruption_is_none(monkeypatch):
    """Rust's panics are no ordinary exceptions, and none of the files here provokes one."""
    package = pytest.importorskip("pillow_jxl")
    data = jxl(RED)
    kinds = [type("PanicException", (BaseException,), {}), KeyboardInterrupt]

    class Decoder:
        def __init__(self, **_):
            pass

        def __call__(self, _):
            raise kinds[0]

    monkeypatch.setattr(package, "Decoder", Decoder)
    assert reason(data) == "cannot be decoded: JPEG XL that is damaged or cut off"
    kinds.pop(0)
    with pytest.raises(KeyboardInterrupt):
        decode(data)


HEIC_HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
JXL_HEAD = b"\xff\x0a\x31\x41\x24\x08\x04\x01" + bytes(20)
WITHOUT_HEIF = "HEIC, which the package pillow-heif reads: pip install 'ulfine-fast[formats]'"
WITHOUT_JXL = "JPEG XL, which the package pillow-jxl-plugin reads: pip install 'ulfine-fast[formats]'"


@pytest.fixture
def no_packages(monkeypatch):
    """As if neither package were installed."""
    opening._find.cache_clear()
    real = importlib.import_module

    def missing(name, package=None):
        if name in ("pillow_heif", "pillow_jxl"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    yield
    monkeypatch.undo()
    opening._find.cache_clear()


def test_packages__named_where_they_are_missing(no_packages):
    assert reason(HEIC_HEAD) == WITHOUT_HEIF
    assert reason(JXL_HEAD) == WITHOUT_JXL
    assert not opening.is_installed_now(WITHOUT_HEIF)
    assert not opening.is_installed_now(WITHOUT_JXL)


def test_packages__found_again():
    pytest.importorskip("pillow_heif")
    pytest.importorskip("pillow_jxl")
    assert opening.is_installed_now(WITHOUT_HEIF)
    assert opening.is_installed_now(WITHOUT_JXL)
    assert not opening.is_installed_now("not an image")


def test_packages__loaded_for_such_files_only():
    """Nothing is registered with Pillow by reading HEIC; a JPEG loads neither package."""
    script = """
import io, sys
from PIL import Image
from ulfine_cache.pictures.pixels import decode
buffer = io.BytesIO()
Image.new("RGB", (8, 8)).save(buffer, "JPEG")
decode(buffer.getvalue())
assert not {"pillow_heif", "pillow_jxl"} & set(sys.modules)
decode(sys.stdin.buffer.read())
assert "pillow_heif" in sys.modules and "pillow_jxl" not in sys.modules
assert not [name for name in Image.OPEN if name in ("HEIF", "JXL")]
"""
    subprocess.run([sys.executable, "-c", script], input=heic(RED), check=True, env={"PYTHONPATH": ":".join(sys.path)})
