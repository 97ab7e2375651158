"""Another picture with the name, the size and the time of change of the one before is noticed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.store.datasets import replacing_file
from ulfine_cache.store.seen_files import keep_seen, read_seen
from ulfine_cache.verify import verify

TIME = (1_600_000_000, 1_600_000_000)


@pytest.fixture
def same_size(photos):
    """All pictures are as long as the longest, and of one time."""
    files = sorted(photos.rglob("*.png"))
    size = max(path.stat().st_size for path in files)
    for path in files:
        # What stands behind the end of a PNG file is not looked at.
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))
        os.utime(path, TIME)
    return files


def change_places(one, other):
    one.rename(one.with_name("between"))
    other.rename(one)
    one.with_name("between").rename(other)


def test_names_that_were_exchanged(run, same_size, tmp_path):
    run()
    before = FeatureCache.open(tmp_path / "cache").features()
    change_places(same_size[0], same_size[1])
    figures = run()
    assert (figures["images_encoded"], figures["images_kept"]) == (0, 5)
    after = FeatureCache.open(tmp_path / "cache").features()
    np.testing.assert_array_equal(after, before[[1, 0, *range(2, len(before))]])
    assert run()["shards_encoded"] == 0


def test_another_picture_copied_over_it_with_its_time(run, same_size, tmp_path):
    run()
    new = write_picture(tmp_path / "new.png", 999) or tmp_path / "new.png"
    new.write_bytes(new.read_bytes().ljust(same_size[0].stat().st_size, b"\0"))
    os.utime(new, TIME)
    shutil.copy2(new, same_size[3])
    assert (same_size[3].stat().st_size, same_size[3].stat().st_mtime) == (new.stat().st_size, TIME[1])
    figures = run()
    assert (figures["images_encoded"], figures["images_kept"]) == (1, 4)
    run(out=tmp_path / "fresh")
    one, other = FeatureCache.open(tmp_path / "cache"), FeatureCache.open(tmp_path / "fresh")
    np.testing.assert_allclose(one.features(), other.features(), atol=1e-3)


def test_another_picture_while_the_collection_grew(run, same_size, photos, tmp_path):
    """The shard is out of date anyway: its rows are not found by name, size and time either."""
    run()
    change_places(same_size[0], same_size[1])
    write_picture(photos / "ant" / "00.png", 500)
    assert run()["images_encoded"] == 1
    run(out=tmp_path / "fresh")
    one, other = FeatureCache.open(tmp_path / "cache"), FeatureCache.open(tmp_path / "fresh")
    np.testing.assert_allclose(one.features(), other.features(), atol=1e-3)


def test_files_that_were_only_touched_are_read_once(run, same_size, tmp_path, monkeypatch):
    from ulfine_cache.sources.folders.image_folder import ImageFolder

    run()
    for path in same_size[:2]:
        path.chmod(0o640)
        path.chmod(0o644)
    read, real = [], ImageFolder.read
    monkeypatch.setattr(ImageFolder, "read", lambda self, item: read.append(item.path) or real(self, item))
    assert run()["shards_encoded"] == 0
    assert len(read) == 2
    assert run()["shards_encoded"] == 0
    assert len(read) == 2


@pytest.mark.parametrize(
    "left", [None, b"", b"damaged", b"shards/00000.h5 0123", b"\xff", b"shards/00000.h5 0123456789abcdef\n"]
)
def test_a_cache_that_does_not_know_its_files(run, same_size, tmp_path, left):
    """As those of earlier versions: contents are compared, and nothing is encoded that is the same."""
    run()
    cache = tmp_path / "cache"
    known = {path: values.tolist() for path, values in read_seen(cache).items()}
    assert [len(values) for values in known.values()] == [5, 5, 5, 5, 3]
    for exchanged in (False, True):
        with replacing_file(cache / "cache.h5", start=cache / "cache.h5", digest=True) as file:
            del file["seen"], file["shard_seen"]
        if left is not None:
            (cache / ".seen").write_bytes(left)
        if exchanged:
            change_places(same_size[0], same_size[1])
        assert run()["shards_encoded"] == exchanged
        assert not (cache / ".seen").exists()
        assert ({path: values.tolist() for path, values in read_seen(cache).items()} == known) is not exchanged
    assert verify(cache=cache)["damaged"] == []


def test_a_skipped_file_that_was_replaced(run, same_size, photos, tmp_path):
    broken = photos / "cat" / "00 broken.png"
    whole = same_size[0].read_bytes()
    broken.write_bytes(bytes(len(whole)))
    os.utime(broken, TIME)
    assert run()["skipped"] == 1
    assert run()["shards_encoded"] == 0
    broken.write_bytes(whole)
    os.utime(broken, TIME)
    figures = run()
    assert (figures["skipped"], figures["images_encoded"]) == (0, 0)


def test_verify_source__names_what_is_stale(run, same_size, photos, tmp_path):
    run()
    cache = tmp_path / "cache"
    assert verify(cache=cache)["stale"] is None
    assert verify(cache=cache, source=True)["stale"] == []
    change_places(same_size[0], same_size[1])
    same_size[2].unlink()
    write_picture(photos / "zebra" / "zz.png", 700)
    found = {row["path"]: row["reason"] for row in verify(cache=cache, source=True)["stale"]}
    names = [path.relative_to(photos).as_posix() for path in same_size[:3]]
    assert found == {
        names[0]: "holds other bytes than were encoded",
        names[1]: "holds other bytes than were encoded",
        names[2]: "is gone",
        "zebra/zz.png": "is not in the cache",
    }
    assert not verify(cache=cache)["foreign"]
    run()
    assert verify(cache=cache, source=True)["stale"] == []


def test_verify_source__what_it_found_is_encoded_by_the_next_call(run, same_size, tmp_path, monkeypatch):
    """Also where no number and no time tells the files apart."""
    from ulfine_cache.encoding import former_rows, same_contents

    for module in (same_contents, former_rows):
        monkeypatch.setattr(module, "identity", lambda source, item: 7)
    run()
    change_places(same_size[0], same_size[1])
    assert run()["shards_encoded"] == 0
    assert len(verify(cache=tmp_path / "cache", source=True)["stale"]) == 2
    assert not verify(cache=tmp_path / "cache")["foreign"]
    assert run()["shards_encoded"] == 1
    assert verify(cache=tmp_path / "cache", source=True)["stale"] == []


def test_resuming__knows_the_files_of_what_is_done(run, same_size, tmp_path, monkeypatch):
    from ulfine_cache.sources.folders.image_folder import ImageFolder

    run()
    cache = tmp_path / "cache"
    keep_seen(cache)
    (cache / "cache.h5").unlink()
    (cache / "shards" / "00002.h5").unlink()
    read, real = [], ImageFolder.read
    monkeypatch.setattr(ImageFolder, "read", lambda self, item: read.append(item.path) or real(self, item))
    assert run()["shards_encoded"] == 1
    assert len(read) == 5


def test_verify_source__of_an_import(feature_file, tmp_path):
    file = Path(shutil.copy(feature_file, tmp_path / "trees.npz"))
    import_features(file=file, out=tmp_path / "trees")
    assert verify(cache=tmp_path / "trees", source=True)["stale"] == []
    file.write_bytes(file.read_bytes() + b"x")
    assert [row["reason"] for row in verify(cache=tmp_path / "trees", source=True)["stale"]] == [
        "has changed since it was imported"
    ]
