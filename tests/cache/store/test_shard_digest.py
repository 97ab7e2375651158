"""A shard's bytes are compared with its digest before HDF5 sees them, and nothing is read from other files."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.search.index import read_index
from ulfine_cache.store import digest_file
from ulfine_cache.verify import verify


@pytest.fixture(autouse=True)
def new_process(monkeypatch):
    """Nothing has been checked yet."""
    monkeypatch.setattr(digest_file, "_checked", {})


@pytest.fixture
def cache(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "f.npz", features=rng.normal(size=(12, 8)).astype(np.float32), labels=np.arange(12) % 3)
    import_features(file=tmp_path / "f.npz", out=tmp_path / "cache")
    digest_file._checked.clear()
    return tmp_path / "cache"


def flip(path: Path, place: int, bit: int = 0):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(bytes(data))


def test_shard__has_a_digest_as_sha256sum_reads_it(cache):
    import subprocess

    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "00000.h5.sha256"], cwd=cache / "shards", capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "00000.h5: OK\n")
    assert verify(cache=cache)["damaged"] == []
    assert not verify(cache=cache).get("foreign")


def test_open__reads_labels_without_the_shards(cache):
    before = FeatureCache.open(cache)
    flip(cache / "shards" / "00000.h5", 900)
    after = FeatureCache.open(cache)
    assert (after.labels == before.labels).all()
    with pytest.raises(UlfineError, match=r"00000\.h5 is damaged"):
        after.features()


def test_every_flipped_bit_of_the_bookkeeping_is_found(cache):
    """Each 37th byte of a small shard, whatever it means to HDF5."""
    shard = cache / "shards" / "00000.h5"
    whole = shard.read_bytes()
    for place in range(0, len(whole), 37):
        flip(shard, place, place % 8)
        with pytest.raises(UlfineError, match="is damaged"):
            FeatureCache.open(cache).features()
        shard.write_bytes(whole)
    assert FeatureCache.open(cache).features().shape == (12, 8)


def test_check_once__is_done_once_for_the_same_file(cache, monkeypatch):
    hashed = []
    real = digest_file.file_sha256
    monkeypatch.setattr(digest_file, "file_sha256", lambda path: hashed.append(path.name) or real(path))
    opened = FeatureCache.open(cache)
    hashed.clear()
    opened.features()
    opened.features(np.array([3]))
    assert hashed == ["00000.h5"]
    flip(cache / "shards" / "00000.h5", 900)
    with pytest.raises(UlfineError, match="is damaged"):
        opened.features()


def test_resuming__does_not_make_damage_official(run, photos, tmp_path, recorder):
    run()
    shard = tmp_path / "cache" / "shards" / "00001.h5"
    whole = shard.read_bytes()
    flip(shard, 1200)
    (tmp_path / "cache" / "cache.h5").unlink()
    digest_file._checked.clear()
    assert run(progress=recorder)["shards_encoded"] == 1
    assert any("1 shard is damaged" in note for note in recorder.notes)
    assert shard.read_bytes() == whole


def test_growing__takes_no_features_from_a_damaged_shard(run, photos, tmp_path):
    run()
    expected = FeatureCache.open(tmp_path / "cache").features()
    shard = tmp_path / "cache" / "shards" / "00000.h5"
    with h5py.File(shard, "r+") as file:  # valid HDF5 with valid checksums, other values
        file["features"][:] = file["features"][:][::-1]
    digest_file._checked.clear()
    write_picture(photos / "ant" / "00.png", 500)
    figures = run()
    assert (figures["images_encoded"], figures["images_kept"]) == (6, 18)
    np.testing.assert_allclose(FeatureCache.open(tmp_path / "cache").features()[1:], expected, atol=1e-3)


def test_index__is_checked_before_it_answers(cache):
    opened = FeatureCache.open(cache)
    read_index(opened)
    flip(cache / "image.faiss", (cache / "image.faiss").stat().st_size - 5)
    with pytest.raises(UlfineError, match=r"image\.faiss is damaged"):
        read_index(opened)


def test_verify__a_lost_digest_is_written_again(cache):
    digest = cache / "shards" / "00000.h5.sha256"
    text = digest.read_bytes()
    digest.unlink()
    assert [Path(row["path"]).name for row in verify(cache=cache)["damaged"]] == ["00000.h5.sha256"]
    verify(cache=cache, repair=True)
    assert digest.read_bytes() == text
    assert verify(cache=cache)["damaged"] == []


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.bin"
    path.write_bytes(b"what nobody should see" * 100)
    return path


def external(file, name, secret):
    old = file[name]
    shape, dtype = old.shape, old.dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[(str(secret), 0, int(np.prod(shape)) * dtype.itemsize)])


def external_link(file, name, secret):
    del file[name]
    file[name] = h5py.ExternalLink(str(secret), "/features")


def soft_link(file, name, secret):
    del file[name]
    file[name] = h5py.SoftLink("/hash")


def virtual(file, name, secret):
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource(str(secret), name, shape, dtype)
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    ("where", "name"),
    [
        *(("cache.h5", name) for name in ("features", "path", "hash", "class_names", "label", "set")),
        *(("shards/00000.h5", name) for name in ("features", "path", "hash", "label", "set")),
    ],
)
@pytest.mark.parametrize("attack", [external, external_link, soft_link, virtual])
def test_references__that_leave_the_cache_are_refused(cache, secret, where, name, attack):
    path = cache / where
    with h5py.File(path, "r+") as file:
        attack(file, name, secret)
    # As somebody would who wants it to be opened.
    digest_file.write_digest(path, digest_file.file_sha256(path))
    if where.startswith("shards"):
        (cache / "cache.h5.sha256").unlink()
        with h5py.File(cache / "cache.h5", "r+") as file:
            file["shard_bytes"][0] = path.stat().st_size
            file["shard_sha256"][0] = digest_file.file_sha256(path)
        digest_file.write_digest(cache / "cache.h5", digest_file.file_sha256(cache / "cache.h5"))
    with pytest.raises(UlfineError, match="not trusted"):
        FeatureCache.open(cache).features()
        FeatureCache.open(cache).paths_of(np.array([0]))
    found = verify(cache=cache) if where.startswith("shards") else None
    assert found is None or found["damaged"]


def test_references__with_a_detour_are_refused(cache, secret):
    with h5py.File(cache / "cache.h5", "r+") as file:
        virtual(file, "features", "shards/../../secret.bin")
    digest_file.write_digest(cache / "cache.h5", digest_file.file_sha256(cache / "cache.h5"))
    with pytest.raises(UlfineError, match="not trusted"):
        FeatureCache.open(cache)


def test_data_that_are_not_there_are_refused(cache):
    """A terabyte of promised zeros in a file of a few kilobytes."""
    with h5py.File(cache / "cache.h5", "r+") as file:
        del file["text_features" if "text_features" in file else "shard_rows"]
        file.create_dataset("text_features", (2**28, 1024), np.float32, chunks=(1024, 1024))
    digest_file.write_digest(cache / "cache.h5", digest_file.file_sha256(cache / "cache.h5"))
    with pytest.raises(UlfineError, match="damaged"):
        FeatureCache.open(cache)


def test_a_cache_that_moved_is_still_read(cache, tmp_path):
    shutil.move(cache, tmp_path / "elsewhere")
    assert FeatureCache.open(tmp_path / "elsewhere").features().shape == (12, 8)
