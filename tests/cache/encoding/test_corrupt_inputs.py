"""A gallery of everything that lies about in folders of images, through stage one from end to end."""

import csv
import io
import os
import shutil
import socket
import struct
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ulfine_cache.atomic import reason
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.pictures.pixels import decode
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.stage_one import cache_features

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes, links and names of any bytes are POSIX")


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def good_files():
    """Readable pictures that simpler loaders stumble over."""
    values = np.random.default_rng(0).integers(0, 256, (36, 40, 3), np.uint8)
    picture = Image.fromarray(values)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "a-png-called.jpg", encoded(picture)
    yield "a-jpeg-called.png", encoded(picture, "JPEG")
    yield "alpha.png", encoded(picture.convert("RGBA"))
    yield "animated.gif", encoded(picture, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 36))])
    yield "animated.png", encoded(picture, save_all=True, append_images=[Image.new("RGB", (40, 36))])
    yield "animated.webp", encoded(picture, "WEBP", save_all=True, append_images=[Image.new("RGB", (40, 36))])
    yield "cmyk.jpg", encoded(picture.convert("CMYK"), "JPEG")
    yield "grey-16-bit.png", encoded(Image.fromarray(values[..., 0].astype(np.uint16) * 257))
    yield "long.png", encoded(Image.new("RGB", (1, 100_000)))
    yield "one-pixel.png", encoded(Image.new("RGB", (1, 1)))
    yield "palette.png", encoded(picture.quantize(64))
    yield "palette-transparent.png", encoded(picture.quantize(64), transparency=3)
    yield "rotated.jpg", encoded(picture, "JPEG", exif=exif)
    yield "trailing-bytes.jpg", encoded(picture, "JPEG") + b"and more"
    yield os.fsdecode(b"not-utf8-\xe4.png"), encoded(picture)
    yield 'comma, "quote"\n.png', encoded(picture)


def bad_files():
    """(name, content, reason) of files without a picture."""
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 256, (36, 40, 3), np.uint8))
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        data = encoded(picture, kind)
        yield f"cut.{kind.lower()}", data[: len(data) // 2], None
    yield "cut-to-a-byte.jpg", b"\xff", "not an image"
    yield "empty.jpg", b"", "empty file"
    yield "text.jpg", b"this is a text", "not an image"
    yield (
        "postscript.jpg",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "not an image",
    )
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    huge = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    yield "huge.png", huge, "too large: more than 100000000 pixels"
    yield "rather-huge.png", encoded(Image.new("1", (10_001, 10_000))), "too large: 10001 x 10000 pixels"
    png = encoded(picture)
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(10_000_000)))
    yield "text-bomb.png", png[:33] + text + png[33:], "too large: its metadata"
    yield os.fsdecode(b"empty-\xff.png"), b"", "empty file"


@pytest.fixture
def gallery(tmp_path):
    """Two classes with all of it; returns the folder, the good files and the reasons for the others."""
    root = tmp_path / "gallery"
    good, bad = {}, {}
    for number, (name, data) in enumerate(good_files()):
        path = f"{('cat', 'dog')[number % 2]}/{name}"
        good[path] = data
    for number, (name, data, why) in enumerate(bad_files()):
        path = f"{('cat', 'dog')[number % 2]}/{name}"
        bad[path] = why
        good_or_bad = root / path
        good_or_bad.parent.mkdir(parents=True, exist_ok=True)
        good_or_bad.write_bytes(data)
    for path, data in good.items():
        try:
            (root / path).write_bytes(data)
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
    cat = root / "cat"
    # A folder may be called like an image.
    good["cat/folder.jpg/inside.png"] = good["cat/alpha.png"]
    (cat / "folder.jpg").mkdir()
    (cat / "folder.jpg" / "inside.png").write_bytes(good["cat/alpha.png"])
    (cat / "itself.jpg").symlink_to(cat / "itself.jpg")
    (cat / "loop").symlink_to(root)
    (cat / "nowhere.jpg").symlink_to(root / "nowhere")
    os.mkfifo(cat / "pipe.jpg")
    (cat / "null.jpg").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind(os.path.relpath(cat / "socket.jpg"))
    with (cat / "sparse.jpg").open("wb") as file:
        file.truncate(2**30 + 1)
    for name, why in (
        ("itself.jpg", "too many levels of symbolic links"),
        ("loop", "a link in a circle: the folder lies in itself"),
        ("nowhere.jpg", "no such file or directory"),
        ("pipe.jpg", "is a named pipe"),
        ("null.jpg", "is a device"),
        ("socket.jpg", "is a socket"),
        ("sparse.jpg", "larger than 1 GiB: 1073741825 bytes"),
    ):
        bad[f"cat/{name}"] = f"cannot be read: {why}"
    return root, good, bad


def read_skipped(cache):
    with (cache / "skipped.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return list(csv.reader(file))


def test_gallery__every_input_is_a_row_or_has_a_reason(gallery, tmp_path, random_model):
    root, good, bad = gallery
    options = {"model": random_model[0], "pretrained": random_model[1], "device": "cpu", "precision": "fp32"}
    options |= {"batch_size": 3, "shard_size": 7, "workers": 4}
    figures = cache_features(source=root, out=tmp_path / "cache", **options)
    assert (figures["rows"], figures["skipped"]) == (len(good), len(bad))
    header, *skipped = read_skipped(tmp_path / "cache")
    assert header == ["path", "reason"]
    assert [path for path, _ in skipped] == sorted(bad)
    for path, why in skipped:
        if bad[path] is None:
            assert why == "truncated file" or why.startswith("cannot be decoded: "), (path, why)
        else:
            assert why == bad[path], path
    # The rows are in order, and each has the features of its own file.
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.paths == sorted(good)
    assert cache.labels.tolist() == [("cat", "dog").index(path[:3]) for path in cache.paths]
    encoder = ClipEncoder.load(*random_model[:2], "cpu", "fp32")
    pixels = np.stack([encoder.preprocess.to_pixels(decode(good[path])) for path in cache.paths])
    np.testing.assert_allclose(cache.features(), encoder.encode_images(pixels), atol=1e-3)
    # Nothing is left to do, whatever is wrong with the inputs.
    assert cache_features(source=root, out=tmp_path / "cache", **options)["shards_encoded"] == 0


def test_gallery__strict_stops_at_the_first(gallery, tmp_path, random_model):
    root, _, bad = gallery
    with pytest.raises(UlfineError, match=rf"^{sorted(bad)[0]}: .*\(--strict stops"):
        cache_features(
            source=root, out=tmp_path / "cache", model=random_model[0], pretrained=random_model[1], strict=True
        )
    assert not (tmp_path / "cache" / "cache.h5").exists()


@pytest.fixture
def place():
    """A folder that another user can reach, unlike `tmp_path`."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@contextmanager
def ordinary_user():
    """Take the rights of an ordinary user, because root may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_permissions__closed_files_and_folders(place, random_model):
    root, out = place / "photos", place / "cache"
    picture = encoded(Image.new("RGB", (40, 36)))
    for name in ("cat/1.png", "cat/2.png", "cat/deep/3.png", "dog/4.png", "train/fox/5.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture)
    closed = ["cat/2.png", "cat/deep", "dog", "train"]
    weights = Path(shutil.copyfile(random_model[1], place / "weights.safetensors"))
    options = {"model": random_model[0], "pretrained": str(weights), "device": "cpu", "precision": "fp32"}
    # Loaded once as the user who may read the libraries.
    cache_features(source=root, out=place / "first", **options)
    for name in closed:
        (root / name).chmod(0)
    with ordinary_user():
        source = open_source(root)
        assert source.classes == ["cat"]
        reasons = []
        for item in source.items[1:]:
            assert (item.size, item.mtime_ns) == (-1, -1)
            with pytest.raises(OSError) as caught:
                source.read(item)
            reasons.append((item.path, reason(caught.value)))
        assert reasons == [(name, "permission denied") for name in closed]
        figures = cache_features(source=root, out=out, **options)
        assert (figures["rows"], figures["skipped"]) == (1, 4)
        assert read_skipped(out)[1:] == [[name, "cannot be read: permission denied"] for name in closed]
    for name in closed:
        (root / name).chmod(0o755)
    with ordinary_user():
        # The listing changes with the permission, although neither size nor time do: all is encoded now.
        assert cache_features(source=root, out=out, **options)["rows"] == 5
        assert read_skipped(out) == [["path", "reason"]]
