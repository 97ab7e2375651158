"""Everything that is called or looks like a picture, through the real command: a row, a reason, or a count."""

import csv
import gzip
import importlib
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from tests.cache.pictures.handmade import chunk, png, saved, tga, tiff
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.pictures import opening
from ulfine_cache.pictures.pixel_range import Range
from ulfine_cache.pictures.pixels import decode
from ulfine_cache.stage_one import cache_features

NOISE = np.random.default_rng(0).integers(0, 256, (36, 40, 3), np.uint8)
PICTURE = Image.fromarray(NOISE)
TWELVE = NOISE[..., 0].astype(np.uint16) * 16
FLOATS = NOISE[..., 0].astype(np.float32) / 250
RAW = tiff(NOISE, tags={254: (4, [1]), 271: (2, b"SONY\0")}, more=[{262: (3, [32803]), 254: (4, [0])}])


def heic():
    package = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    package.from_pillow(PICTURE).save(buffer, format="HEIF")
    return buffer.getvalue()


def jxl():
    pytest.importorskip("pillow_jxl")
    return saved(PICTURE, "JXL")


def good_files():
    """(name, content, note)."""

    def animated(kind):
        return saved(PICTURE, kind, save_all=True, append_images=[Image.new("RGB", (40, 36))])

    yield "phone.heic", heic(), ""
    yield "modern.jxl", jxl(), ""
    yield "modern-without-extension", jxl(), ""
    yield "heic-called.jpg", heic(), ""
    yield "camera.mpo", animated("MPO"), ""
    yield "codestream.j2k", saved(PICTURE, "JPEG2000", no_jp2=True), ""
    yield "from-twitter.jpg_large", saved(PICTURE, "JPEG"), ""
    yield "without-extension", saved(PICTURE, "JPEG"), ""
    yield "small.avif", saved(PICTURE, "AVIF"), ""
    yield "large.tif", saved(PICTURE, "TIFF", big_tiff=True), ""
    frames = "of several frames, of which the first is read"
    for ending, kind in (("gif", "GIF"), ("webp", "WEBP"), ("apng", "PNG"), ("avifs", "AVIF")):
        yield f"animated.{ending}", animated(kind), frames
    yield "not-animated.gif", saved(PICTURE, "GIF"), ""
    yield "print.tif", saved(PICTURE.convert("CMYK"), "TIFF"), ""
    yield "print.jpg", saved(PICTURE.convert("CMYK"), "JPEG"), ""
    yield "palette.png", saved(PICTURE.quantize(64), transparency=3), ""
    yield "fax.tif", saved(PICTURE.convert("1"), "TIFF", compression="group4"), ""
    yield "ignore-alpha.tga", tga(np.dstack([NOISE, np.zeros((36, 40), np.uint8)]), 1), ""
    yield "pages.tif", animated("TIFF"), "of several pages, of which the first is read"
    twelve = "of 16-bit values 0..4095 read as 12-bit"
    yield "twelve-bits.tif", tiff(TWELVE), twelve
    yield "twelve-bits.png", png(TWELVE, 16, 0), twelve
    yield "twelve-bits-of-colour.png", png(NOISE.astype(np.uint16) * 16, 16, 2), twelve
    yield "sixteen.png", png(TWELVE * 16, 16, 0), "of 16-bit values read as 0..65535"
    clear = chunk(b"tRNS", struct.pack(">H", int(TWELVE[0, 0])))
    yield "clear.png", png(TWELVE, 16, 0, clear), twelve
    yield "float.tif", tiff(FLOATS), "of float values read as 0..1"
    yield "float-to-1000.tif", tiff(FLOATS * 1000), "of float values stretched from the smallest to the largest"


PNG = "which is not read: save it as PNG"
AGAIN = "not an image: download the image again"


def bad_files():
    """(name, content, reason)."""
    yield "page.jpg", b"<!DOCTYPE html><html>", f"HTML page, {AGAIN}"
    yield "error.jpg", b"<?xml version='1.0'?><Error>", f"XML text, {AGAIN}"
    yield "limit.png", b'{"message": "too many requests"}', f"JSON text, {AGAIN}"
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    yield "pointer.jpg", lfs, "Git LFS pointer, not an image: fetch the image with `git lfs pull`"
    yield "empty.heic", b"", "empty file"
    yield "packed.jpg", gzip.compress(saved(PICTURE)), "gzip archive, not an image: expand it first"
    yield "layers.psd", b"8BPS\0\1" + bytes(60), f"Photoshop document (PSD), {PNG}"
    yield "texture.dds", b"DDS |\0\0\0" + bytes(120), f"DDS texture, {PNG}"
    tone_map = "it holds light and no white, so tone-map it to an 8-bit PNG"
    yield "light.exr", b"\x76\x2f\x31\x01" + bytes(60), f"OpenEXR, which is not read: {tone_map}"
    window = "convert it to PNG, which takes somebody who says which values are black and white"
    yield "scan.dcm", bytes(128) + b"DICM" + bytes(60), f"DICOM, which is not read: {window}"
    yield "hdr.tif", tiff(np.ones((4, 4, 3), np.float32)), f"TIFF of 3 x 32-bit float values, {PNG}"
    develop = "of which only a preview could be read: develop it to JPEG, PNG or TIFF"
    yield "raw.arw", RAW, f"camera raw file (SONY), {develop}"
    yield "raw.dng", tiff(NOISE, tags={50706: (1, [1, 4, 0, 0])}), f"camera raw file (DNG), {develop}"
    yield (
        "raw.cr2",
        b"II*\0\x10\0\0\0CR\2\0" + bytes(60),
        "camera raw file (Canon CR2), which is not read: develop it to JPEG, PNG or TIFF",
    )
    yield "text.j2k", b"this is a text", "not an image"


OTHERS = {"read.me": b"text", "notes": b"text", "table.csv": b"a,b", "film.mp4": bytes(60), ".hidden.heic": b"x"}


@pytest.fixture(scope="module")
def files():
    """All files by path, in two classes; (path, note) of the good ones, (path, reason) of the bad ones."""
    everything, notes, reasons = {}, {}, {}
    for number, (name, data, note) in enumerate(good_files()):
        path = f"{('cat', 'dog')[number % 2]}/{name}"
        everything[path], notes[path] = data, note
    for number, (name, data, why) in enumerate(bad_files()):
        path = f"{('cat', 'dog')[number % 2]}/{name}"
        everything[path], reasons[path] = data, why
    return everything | {f"cat/{name}": data for name, data in OTHERS.items()}, notes, reasons


def written(place, kind, everything):
    """Write the files as a folder, a zip or a tar file."""
    if kind == "folder":
        for path, data in everything.items():
            (place / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
            (place / "photos" / path).write_bytes(data)
        return "photos"
    if kind == "zip":
        with zipfile.ZipFile(place / "photos.zip", "w") as archive:
            for path, data in everything.items():
                archive.writestr(path, data)
        return "photos.zip"
    with tarfile.open(place / "photos.tar", "w") as archive:
        for path, data in everything.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return "photos.tar"


def command(place, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "ulfine_cli.main", "cache-features", *arguments, "--model", "builtin:tiny"],
        cwd=place,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def skipped_of(cache):
    with (cache / "skipped.csv").open(newline="") as file:
        return [(path.partition("photos.tar/")[2] or path, why) for path, why in list(csv.reader(file))[1:]]


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_command__a_row_a_reason_or_a_count(tmp_path, files, kind):
    everything, notes, reasons = files
    source = written(tmp_path, kind, everything)
    done = command(tmp_path, source, "--out", "cache", "--json", "figures.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    cache = FeatureCache.open(tmp_path / "cache")
    assert [path.partition("photos.tar/")[2] or path for path in cache.paths] == sorted(notes)
    assert dict(skipped_of(tmp_path / "cache")) == reasons
    ignored = {".me": 1, "without extension": 1, ".csv": 1, ".mp4": 1, "hidden": 1}
    assert figures["ignored"] == ignored
    assert figures["rows"] + figures["skipped"] + sum(ignored.values()) == len(everything)
    # The closing lines say the same.
    counts = {note: list(notes.values()).count(note) for note in notes.values() if note}
    assert figures["notes"] == counts
    lines = [f"note: {count} image{'' if count == 1 else 's'} {note}" for note, count in counts.items()]
    assert {line for line in done.stdout.splitlines() if line.startswith("note: ")} == set(lines)
    assert "note: 4 images of 16-bit values 0..4095 read as 12-bit" in lines
    assert "not images: 1 " in done.stdout


def test_command__strict_names_the_first(tmp_path, files):
    everything, _, reasons = files
    written(tmp_path, "folder", everything)
    done = command(tmp_path, "photos", "--out", "cache", "--strict")
    first = min(reasons)
    assert done.returncode == 1
    assert f"error: {first}: {reasons[first]} (--strict stops" in done.stderr
    assert "Traceback" not in done.stderr


def test_command__pixel_range(tmp_path, files):
    names = ("twelve-bits.tif", "sixteen.png", "print.jpg")
    everything = {path: data for path, data in files[0].items() if path.endswith(names)}
    written(tmp_path, "folder", everything)
    done = command(tmp_path, "photos", "--out", "cache", "--pixel-range", "0..1000")
    assert done.returncode == 0, done.stderr
    assert "note: 2 images of 16-bit values read as 0..1000 (--pixel-range)" in done.stdout
    # The same again has nothing to do; another range is another cache.
    call = {"source": tmp_path / "photos", "out": tmp_path / "cache", "model": "builtin:tiny"}
    again = cache_features(**call, pixel_range="0..1000")
    assert (again["shards_encoded"], again["notes"]) == (0, {})
    with pytest.raises(UlfineError, match=r"made in another way \(pixel range 0\.\.1000 -> none\)"):
        cache_features(**call)
    with pytest.raises(UsageError, match=r"no pixel range '1000\.\.0': there are auto and BLACK\.\.WHITE"):
        cache_features(**call, pixel_range="1000..0")
    # The features are those of the pixels of that range.
    chosen, found = FeatureCache.open(tmp_path / "cache"), {}
    for name, wanted in (("all", None), ("dark", Range(0, 1000))):
        root = tmp_path / name
        for path, data in everything.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            decode(data, pixel_range=wanted).save(root / f"{path}.png")
        cache_features(source=root, out=tmp_path / f"{name}-cache", model="builtin:tiny")
        found[name] = FeatureCache.open(tmp_path / f"{name}-cache").features()
    np.testing.assert_allclose(found["dark"], chosen.features(), atol=1e-3)
    assert np.abs(found["all"] - chosen.features()).max() > 0.01


def test_packages__installed_later_the_same_command_reads_what_was_skipped(tmp_path, monkeypatch):
    files = {"cat/1.png": saved(PICTURE), "dog/2.png": saved(PICTURE), "dog/3.heic": heic(), "dog/4.jxl": jxl()}
    written(tmp_path, "folder", files)
    call = {"source": tmp_path / "photos", "out": tmp_path / "cache", "model": "builtin:tiny"}
    real = importlib.import_module
    opening._find.cache_clear()
    with monkeypatch.context() as patch:

        def missing(name, package=None):
            if name.startswith("pillow_"):
                raise ImportError(name)
            return real(name, package)

        patch.setattr(importlib, "import_module", missing)
        assert cache_features(**call)["rows"] == 2
        assert skipped_of(tmp_path / "cache") == [
            ("dog/3.heic", "HEIC, which the package pillow-heif reads: pip install 'ulfine-fast[formats]'"),
            ("dog/4.jxl", "JPEG XL, which the package pillow-jxl-plugin reads: pip install 'ulfine-fast[formats]'"),
        ]
        assert cache_features(**call)["shards_encoded"] == 0
    opening._find.cache_clear()
    figures = cache_features(**call)
    assert (figures["rows"], figures["shards_encoded"]) == (4, 1)
    assert cache_features(**call)["shards_encoded"] == 0
