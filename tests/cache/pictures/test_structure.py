"""Files that are made to keep a decoder busy are refused at once, and what cameras and editors write is not."""

import io
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from tests.attacks import pictures
from tests.cache.pictures import handmade
from ulfine_cache.pictures.pixels import UndecodableImage, decode
from ulfine_cache.pictures.structure import jpeg
from ulfine_cache.pictures.structure.check import objection


@pytest.mark.parametrize("kind", pictures.MANY_PIECES)
def test_many_pieces__refused_at_once(kind):
    """Each of these takes Pillow between ten seconds and minutes, or gigabytes."""
    data = pictures.MANY_PIECES[kind]()
    began = time.process_time()
    with pytest.raises(UndecodableImage, match=r"too (many|much|long)"):
        decode(data)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_jpeg__fewer_data_than_its_size(options):
    """libjpeg fills what is missing with grey, and says nothing that Pillow hands on."""
    with pytest.raises(UndecodableImage, match="truncated file"):
        decode(pictures.jpeg_with_another_size(**options))


def noise(size, mode="RGB"):
    channels = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, np.random.default_rng(0).bytes(size[0] * size[1] * channels))


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (640, 480), (3000, 1)])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True, "quality": 1}], ids=str)
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg__the_flattest_and_the_fullest_are_read(size, mode, options, subsampling):
    """Nothing is called truncated that is whole: a flat picture at the lowest quality has the fewest bits a block."""
    for picture in (Image.new(mode, size), noise(size, mode)):
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", subsampling=subsampling, **options)
        assert decode(buffer.getvalue()).size == size


def test_jpeg__with_restarts_thumbnail_and_large_metadata():
    thumbnail = pictures.saved((160, 120), "JPEG")
    exif = Image.Exif()
    exif[0x0112] = 6
    exif.get_ifd(0x8769)[0x927C] = thumbnail * 20
    buffer = io.BytesIO()
    profile, xmp = bytes(range(256)) * 2000, b"http://ns.adobe.com/xap/1.0/\0" + b"x" * 60_000
    noise((300, 200)).save(buffer, "JPEG", exif=exif, icc_profile=profile, restart_marker_rows=1, comment=b"c" * 60_000)
    assert decode(buffer.getvalue()).size == (200, 300)
    extended = b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp
    whole = buffer.getvalue()
    assert decode(whole[:2] + extended * 300 + whole[2:]).size == (200, 300)


def test_jpeg__several_pictures_in_one_file():
    buffer = io.BytesIO()
    noise((64, 48)).save(buffer, "MPO", save_all=True, append_images=[noise((64, 48))] * 300)
    assert decode(buffer.getvalue()).size == (64, 48)


@pytest.mark.parametrize("scans", [jpeg.MAX_SCANS - 20, jpeg.MAX_SCANS])
def test_jpeg__number_of_scans(scans):
    data = pictures.jpeg_of_scans((64, 48), scans)
    assert bool(objection(data)) == (scans == jpeg.MAX_SCANS)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGBA", {}),
        ("GIF", "P", {"comment": b"c" * 100_000}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "L", {"strip_size": 1}),
        ("TIFF", "RGB", {"big_tiff": True}),
        ("WEBP", "RGB", {}),
        ("BMP", "RGB", {}),
        ("PPM", "RGB", {}),
        ("JPEG2000", "RGB", {"codeblock_size": (16, 16), "precinct_size": (32, 32), "tile_size": (128, 128)}),
        ("JPEG2000", "RGB", {"no_jp2": True, "num_resolutions": 6}),
    ],
    ids=str,
)
def test_other_formats__whole_files_are_read(kind, mode, options):
    buffer = io.BytesIO()
    noise((700, 500), "RGB" if mode == "P" else mode).convert(mode).save(buffer, kind, **options)
    assert decode(buffer.getvalue()).size == (700, 500)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "PPM", "JPEG2000"])
def test_any_bytes__no_error_but_a_refusal(kind):
    """Cut and flipped files, and signatures with noise behind them."""
    whole = pictures.saved((40, 30), kind)
    draw = np.random.default_rng(0)
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[draw.integers(0, len(whole), 4)] = draw.integers(0, 256, 4, np.uint8)
        assert isinstance(objection(damaged.tobytes()[: draw.integers(0, len(whole) + 1)]), str)
        assert isinstance(objection(whole[:12] + draw.bytes(200)), str)


def test_cache_features__lists_them_as_skipped(tmp_path):
    """The command goes on, and says why."""
    folder = tmp_path / "pictures" / "kind"
    folder.mkdir(parents=True)
    (folder / "good.png").write_bytes(pictures.saved((64, 64), "PNG"))
    (folder / "scans.jpg").write_bytes(pictures.jpeg_of_scans())
    (folder / "markers.jpg").write_bytes(pictures.jpeg_of_markers())
    (folder / "size.jpg").write_bytes(pictures.jpeg_with_another_size())
    command = [sys.executable, "-m", "ulfine_cli.main", "cache-features", "--model", "builtin:tiny"]
    arguments = [str(tmp_path / "pictures"), "--out", str(tmp_path / "cache")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    listed = (tmp_path / "cache" / "skipped.csv").read_text(encoding="utf-8")
    assert "scans.jpg,too many scans (over 256)" in listed
    assert "markers.jpg,too many markers" in listed
    assert "size.jpg,truncated file" in listed
    assert len(listed.splitlines()) == 4


def test_tiff__tags_and_pages_are_bounded():
    values = np.zeros((2, 2), np.uint8)
    assert objection(handmade.tiff(values, tags={tag: (3, [0]) for tag in range(1000, 5000)})) == ""
    assert objection(handmade.tiff(values, tags={tag: (3, [0]) for tag in range(1000, 6000)})) == "too many tags"
    # What is behind a preview is read as well, and what is behind the picture is not.
    for preview, expected in ((1, "too many strips or numbers under tag 60000 (200001)"), (0, "")):
        first = bytearray(handmade.tiff(values, tags={254: (4, [preview])}))
        entries = int.from_bytes(first[8:10], "little")
        first[10 + 12 * entries : 14 + 12 * entries] = len(first).to_bytes(4, "little")
        second = struct.pack("<HHHIII", 1, 60000, 3, 200_001, 8, 0)
        assert objection(bytes(first) + second) == expected


def test_jpeg2000__boxes_are_bounded():
    whole = handmade.saved(Image.new("RGB", (8, 8)), "JPEG2000")
    assert objection(whole[:12] + b"\0\0\0\x08free" * 1000 + whole[12:]) == ""
    assert objection(whole[:12] + b"\0\0\0\x08free" * 70_000 + whole[12:]) == "too many boxes"
