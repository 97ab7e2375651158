"""Disks that are full or read-only, and directories that vanish: one line with a remedy, and complete shards stay."""

import contextlib
import errno
import functools
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.convert import convert
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.sources.folders.image_folder import ImageFolder
from ulfine_cache.splits import make_split
from ulfine_cache.stage_one import cache_features
from ulfine_cache.verify import verify

N_IMAGES, SHARD = 24, 2


@pytest.fixture(scope="module", autouse=True)
def one_tokenizer():
    """Read the tokenizer's vocabulary once: that takes half a second."""
    import open_clip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_clip, "get_tokenizer", functools.cache(open_clip.get_tokenizer))
        yield


@pytest.fixture
def photos(tmp_path):
    for number in range(N_IMAGES):
        write_picture(tmp_path / "photos" / f"class{number % 2}" / f"{number:02d}.png", number)
    return tmp_path / "photos"


@pytest.fixture
def fill(photos, random_model):
    """The command under test: `fill(out)` makes a cache of twelve shards."""
    name, weights, _ = random_model

    def call(out, **options):
        request = {"device": "cpu", "precision": "fp32", "batch_size": 2, "shard_size": SHARD} | options
        return cache_features(source=photos, out=out, model=name, pretrained=weights, **request)

    return call


class Disk:
    """A small file system in memory."""

    def __init__(self, place):
        self.place = place
        place.mkdir()
        self._run("mount", "-t", "tmpfs", "-o", "size=64k", "ulfine-test", place)

    def remount(self, options):
        self._run("mount", "-o", f"remount,{options}", self.place)

    def fill(self):
        with (self.place / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    def clear(self):
        (self.place / "filler").unlink()

    def close(self):
        self._run("umount", "-l", self.place)

    def _run(self, *command):
        done = subprocess.run([*map(str, command)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path):
    if sys.platform != "linux":
        pytest.skip("tmpfs is Linux")
    found = Disk(tmp_path / "disk")
    yield found
    found.close()


@pytest.fixture
def small_files():
    """Let no file grow beyond a number of bytes, which any user may ask for."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def read_only(tmp_path, request):
    """Make a directory read-only, by mount or, for users other than root, by permission."""
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        changed = []

        def forbid(place):
            changed.append(place)
            place.chmod(0o500)

        yield tmp_path / "place", forbid
        for place in changed:
            place.chmod(0o700)
    else:
        disk = request.getfixturevalue("disk")
        disk.remount("size=4m")
        yield disk.place / "place", lambda place: disk.remount("ro")


def shards(out):
    return {path.name: path.read_bytes() for path in sorted((out / "shards").glob("*.h5"))}


def same_as_undisturbed(out, fill, tmp_path):
    fill(tmp_path / "undisturbed")
    assert shards(out) == shards(tmp_path / "undisturbed")
    assert FeatureCache.open(out).fingerprint == FeatureCache.open(tmp_path / "undisturbed").fingerprint
    assert verify(cache=out)["damaged"] == []
    assert not list(out.rglob("*.partial"))


def test_cache_features__disk_full(disk, fill, tmp_path):
    out = disk.place / "cache"
    line = r"^cannot write .*: no space left on device; free some space and run the same command again, it goes on$"
    fill(tmp_path / "undisturbed")
    n_shards = N_IMAGES // SHARD
    # In pages of 4 KiB; each shard has a digest file.
    all_shards = sum(4 * -(-len(data) // 4096) + 4 for data in shards(tmp_path / "undisturbed").values())
    kept = {}
    # Full within the shards, twice; then there is room for them but not for what lies over them.
    for size, complete in ((64, False), (128, False), (all_shards + 20, True)):
        disk.remount(f"size={size}k")
        with pytest.raises(UlfineError, match=line):
            fill(out)
        assert not list(out.rglob("*.partial"))
        assert kept.items() <= shards(out).items()
        assert (len(shards(out)) == n_shards) is complete
        assert len(shards(out)) > len(kept)
        kept = shards(out)
    disk.remount("size=4m")
    assert fill(out)["shards_encoded"] == 0
    same_as_undisturbed(out, fill, tmp_path)


@pytest.mark.parametrize("size", [4096, 20_000])
def test_cache_features__file_size_limit(small_files, fill, tmp_path, size):
    out = tmp_path / "cache"
    small_files(size)
    with pytest.raises(UlfineError, match=r"^cannot write .*: file too large; raise the limit on file sizes"):
        fill(out)
    assert not list(out.rglob("*.partial"))
    small_files(2**24)
    fill(out)
    same_as_undisturbed(out, fill, tmp_path)


def test_other_commands__disk_full(disk, feature_file, tmp_path):
    disk.remount("size=1m")
    line = r"^cannot (write|create) .*: no space left on device"
    disk.fill()
    with pytest.raises(UlfineError, match=line):
        import_features(file=feature_file, out=disk.place / "trees")
    import_features(file=feature_file, out=tmp_path / "trees")
    for to in ("npy", "parquet", "clip-retrieval"):
        with pytest.raises(UlfineError, match=line):
            convert(cache=tmp_path / "trees", to=to, out=disk.place / "out")
        assert not (disk.place / "out").exists()
        assert not (disk.place / "out.partial").exists()
    disk.clear()
    import_features(file=feature_file, out=disk.place / "trees")
    disk.fill()
    with pytest.raises(UlfineError, match=line):
        make_split(cache=disk.place / "trees", name="tail", labelled_max=4, imbalance=2)


def test_repair__disk_full(disk, fill):
    disk.remount("size=4m")
    out = disk.place / "cache"
    fill(out)
    path = out / "shards" / "00003.h5"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"?")
    used = sum(-(-found.stat().st_blocks * 512 // 1024) for found in out.rglob("*"))
    disk.remount(f"size={used + 4}k")
    with pytest.raises(UlfineError, match=r"00003\.h5 cannot be made again, and nothing was changed: .*no space left"):
        verify(cache=out, repair=True)
    assert path.read_bytes() == good[:-1] + b"?"
    disk.remount("size=4m")
    assert verify(cache=out, repair=True)["damaged"] == []
    assert path.read_bytes() == good


def test_cache_features__read_only_target(read_only, fill):
    place, forbid = read_only
    place.mkdir()
    forbid(place)
    line = r"^cannot create the directory .*: (read-only file system|permission denied); choose another place$"
    with pytest.raises(UlfineError, match=line):
        fill(place / "cache")


def test_read_only_cache__can_be_read(read_only, fill, tmp_path):
    place, forbid = read_only
    fill(place)
    forbid(place)
    assert verify(cache=place)["damaged"] == []
    assert FeatureCache.open(place).features().shape == (N_IMAGES, 16)
    convert(cache=place, to="npy", out=tmp_path / "arrays")
    line = r"^cannot (write to|create the directory) .*: (read-only file system|permission denied); choose another"
    with pytest.raises(UlfineError, match=line):
        make_split(cache=place, name="tail", labelled_max=4, imbalance=2)


class After:
    """A progress that does something once, when some images are encoded."""

    def __init__(self, images, action):
        self._images, self._action = images, action

    def update(self, stage, done, total, **figures):
        if stage == "encoding" and done >= self._images and self._action:
            action, self._action = self._action, None
            action()

    def note(self, message):
        pass


def test_cache_features__source_vanishes(fill, photos, tmp_path):
    out, away = tmp_path / "cache", tmp_path / "away"
    line = rf"^{photos} has vanished while it was read: run the same command again when it is back, it goes on$"
    with pytest.raises(UlfineError, match=line):
        fill(out, progress=After(9, lambda: photos.rename(away)))
    assert 0 < len(shards(out)) < N_IMAGES // SHARD
    with pytest.raises(UlfineError, match=r"^no folder"):
        fill(out)
    away.rename(photos)
    assert 0 < fill(out)["shards_encoded"] < N_IMAGES // SHARD
    same_as_undisturbed(out, fill, tmp_path)


def test_cache_features__source_becomes_an_empty_mount_point(fill, photos, tmp_path):
    out, away = tmp_path / "cache", tmp_path / "away"

    def unmount():
        photos.rename(away)
        photos.mkdir()

    with pytest.raises(UlfineError, match="has vanished while it was read"):
        fill(out, progress=After(9, unmount))
    photos.rmdir()
    away.rename(photos)
    fill(out)
    same_as_undisturbed(out, fill, tmp_path)


def test_cache_features__images_that_were_never_there(fill, photos, tmp_path):
    # A whole block of links into nowhere is no reason to stop.
    for number in range(2 * SHARD):
        (photos / "class1" / f"x{number}.png").symlink_to(tmp_path / "nowhere.png")
    assert fill(tmp_path / "cache")["skipped"] == 2 * SHARD


def test_cache_features__images_that_are_readable_again(fill, photos, tmp_path, monkeypatch):
    # A failing disk: the listing is the same before and after.
    read = ImageFolder.read

    def fail(self, item):
        if item.path == "class1/05.png":
            raise OSError(errno.EIO, "Input/output error")
        return read(self, item)

    monkeypatch.setattr(ImageFolder, "read", fail)
    assert fill(tmp_path / "cache")["skipped"] == 1
    assert fill(tmp_path / "cache")["shards_encoded"] == 0
    monkeypatch.setattr(ImageFolder, "read", read)
    assert fill(tmp_path / "cache")["shards_encoded"] == 1
    same_as_undisturbed(tmp_path / "cache", fill, tmp_path)


def test_cache_features__cache_vanishes(fill, tmp_path):
    out = tmp_path / "cache"
    line = r"^cannot write .*\.h5(\.sha256)?: no such file or directory; its directory has vanished meanwhile: run"
    with pytest.raises(UlfineError, match=line):
        fill(out, progress=After(9, lambda: shutil.rmtree(out)))
    fill(out)
    same_as_undisturbed(out, fill, tmp_path)


def test_cache_features__out_is_a_file(fill, tmp_path):
    (tmp_path / "cache").write_bytes(b"mine")
    with pytest.raises(UlfineError, match=r"^cannot create the directory .*cache: file exists; choose another place$"):
        fill(tmp_path / "cache")
    assert (tmp_path / "cache").read_bytes() == b"mine"


def test_open__features_after_a_shard_vanished(fill, tmp_path):
    fill(tmp_path / "cache")
    opened = FeatureCache.open(tmp_path / "cache")
    (tmp_path / "cache" / "shards" / "00005.h5").unlink()
    with pytest.raises(UlfineError, match=r"00005\.h5 is missing: run the command that made the cache again"):
        opened.features(np.array([10]))
