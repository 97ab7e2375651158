"""A cache on object storage holds the bytes of a local one, whoever writes it and however often that is interrupted."""

import hashlib
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.cache.conftest import write_picture
from tests.object_storage import LOST_ANSWER, at_random
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.remote import storage
from ulfine_cache.remote.places import place, url_of
from ulfine_cache.splits import make_split
from ulfine_cache.verify import verify


@pytest.fixture
def url(request, copies):
    """Where a cache may be."""
    url = f"memory://{request.node.name.partition('[')[0]}/cache"
    storage._opened(url)[0].store.clear()
    return url


def shards_at(url):
    return {
        found.name: hashlib.sha256(storage.read(found.url)).hexdigest()
        for found in storage.listing(f"{url}/shards")
        if found.name.endswith(".h5")
    }


def shards_in(folder: Path):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "shards").glob("*.h5")}


def names_at(url):
    return [found.name for found in storage.listing(url)]


def forget_copies(copies):
    shutil.rmtree(copies, ignore_errors=True)


def test_cache__is_that_of_a_local_one_byte_for_byte(run, url, tmp_path, copies):
    local, there = run(), run(out=url)
    changing = {"cache", "seconds", "images_per_second"}
    assert {name: there[name] for name in there if name not in changing} == {
        name: local[name] for name in local if name not in changing
    }
    assert there["cache"] == url
    assert shards_at(url) == shards_in(tmp_path / "cache") != {}
    assert names_at(url) == ["index.json", "shards", "skipped.csv", "whole"]
    forget_copies(copies)
    opened, plain = FeatureCache.open(url), FeatureCache.open(tmp_path / "cache")
    assert opened.fingerprint == plain.fingerprint
    assert opened.paths == plain.paths
    np.testing.assert_array_equal(opened.features(np.array([20, 3, 11])), plain.features(np.array([20, 3, 11])))
    assert url_of(opened.path) == url


def test_cache__that_is_complete_is_left_alone(run, url, copies, recorder):
    run(out=url)
    before = storage.read(f"{url}/index.json")
    for forget in (False, True):
        if forget:
            forget_copies(copies)
        assert run(out=url, progress=recorder)["shards_encoded"] == 0
        assert storage.read(f"{url}/index.json") == before


def test_cache__goes_on_with_what_is_there(run, url, copies):
    run(out=url)
    whole = shards_at(url)
    for name in ("index.json", "shards/00001.h5", "shards/00001.h5.sha256", "shards/00003.h5"):
        storage.remove(f"{url}/{name}")
    forget_copies(copies)
    with pytest.raises(UlfineError, match=f"the cache {url} is unfinished: run the command that makes it again"):
        FeatureCache.open(url)
    assert run(out=url)["shards_encoded"] == 2
    assert shards_at(url) == whole


def test_cache__of_a_shard_without_its_digest_has_one_again(run, url, copies):
    run(out=url)
    for name in ("index.json", "shards/00001.h5.sha256"):
        storage.remove(f"{url}/{name}")
    forget_copies(copies)
    assert run(out=url)["shards_encoded"] == 0
    said = storage.read(f"{url}/shards/00001.h5.sha256").decode()
    assert said == f"{shards_at(url)['00001.h5']}  00001.h5\n"


def test_cache__that_another_machine_writes_at_once(run, url, copies, monkeypatch):
    """Two writers with copies of their own: each shard counts once, and both end with a whole cache."""
    seen = []
    write_new = storage.write_new
    first = threading.Event()

    def other_is_first(at, data):
        if at.endswith("00002.h5") and not first.is_set():
            first.set()
            # The other one, with other local copies, makes all that is missing meanwhile.
            monkeypatch.setenv("ULFINE_LOCAL_CACHE_DIR", str(copies / "other"))
            seen.append(run(out=url)["shards_encoded"])
            monkeypatch.setenv("ULFINE_LOCAL_CACHE_DIR", str(copies))
        return write_new(at, data)

    monkeypatch.setattr("ulfine_cache.store.objects.writing.write_new", other_is_first)
    assert run(out=url)["shards"] == 5
    assert seen == [3]
    assert verify(cache=place(url))["damaged"] == []
    assert FeatureCache.open(url).n_rows == 23


def test_cache__of_ranges_on_several_machines(run, url, copies, tmp_path, monkeypatch):
    run()
    for machine, part in (("one", "0:3"), ("two", "2:5")):
        monkeypatch.setenv("ULFINE_LOCAL_CACHE_DIR", str(copies / machine))
        figures = run(out=url, shard_range=part)
    # The third was there.
    assert (figures["shards_encoded"], figures["shards_missing"]) == (2, 0)
    monkeypatch.setenv("ULFINE_LOCAL_CACHE_DIR", str(copies / "three"))
    assert run(out=url)["shards_encoded"] == 0
    assert shards_at(url) == shards_in(tmp_path / "cache")
    assert FeatureCache.open(url).fingerprint == FeatureCache.open(tmp_path / "cache").fingerprint


def test_cache__refuses_another_request(run, url, copies):
    run(out=url)
    forget_copies(copies)
    with pytest.raises(UlfineError, match=f"{url} holds features made in another way .*precision fp32 -> bf16"):
        run(out=url, precision="bf16")


def test_cache__of_a_collection_that_changed(run, url, photos, copies, tmp_path):
    run(out=url)
    former = storage.read(f"{url}/index.json")
    write_picture(photos / "cat" / "new.png", 99)
    (photos / "zebra" / "00.png").unlink()
    forget_copies(copies)
    figures = run(out=url)
    assert (figures["images_encoded"], figures["rows"]) == (1, 23)
    assert storage.read(f"{url}/index.json") != former
    fresh = run(out=tmp_path / "fresh")
    assert FeatureCache.open(url).paths == FeatureCache.open(tmp_path / "fresh").paths
    assert fresh["rows"] == 23
    # Nothing is left of the former one.
    assert len([folder for folder in storage.listing(f"{url}/whole") if storage.listing(folder.url)]) == 1
    assert verify(cache=place(url))["damaged"] == []


def test_cache__whose_bucket_was_emptied_begins_anew(run, url, copies):
    run(out=url)
    storage._opened(url)[0].store.clear()
    assert run(out=url, precision="bf16")["shards_encoded"] == 5


def test_damage__is_found_and_made_again(run, url, copies):
    run(out=url)
    whole = shards_at(url)
    good = storage.read(f"{url}/shards/00002.h5")
    storage.write_over(f"{url}/shards/00002.h5", good[:-1] + b"?")
    storage.write_over(f"{url}/shards/00003.h5.sha256", b"nonsense")
    found = verify(cache=place(url))["damaged"]
    assert [(damage["path"], damage["reason"]) for damage in found] == [
        (f"{url}/shards/00002.h5", "its bytes differ from those that were written (SHA-256)"),
        (f"{url}/shards/00003.h5.sha256", "does not say what the shard is known by"),
    ]
    with pytest.raises(UlfineError, match=r"--repair is for caches that are"):
        verify(cache=place(url), repair=True)
    forget_copies(copies)
    with pytest.raises(UlfineError, match=rf"{url}/shards/00002\.h5 is damaged"):
        FeatureCache.open(url).features()
    storage.remove(f"{url}/index.json")
    assert run(out=url)["shards_encoded"] == 1
    assert shards_at(url) == whole


def test_missing_shard__is_named(run, url, copies):
    run(out=url)
    storage.remove(f"{url}/shards/00002.h5")
    assert verify(cache=place(url))["damaged"] == [{"path": f"{url}/shards/00002.h5", "reason": "is missing"}]
    forget_copies(copies)
    with pytest.raises(UlfineError, match=rf"{url}/shards/00002\.h5 is missing"):
        FeatureCache.open(url).features()


def test_damaged_whole__is_named(run, url, copies):
    run(out=url)
    [folder] = storage.listing(f"{url}/whole")
    storage.write_over(f"{folder.url}/cache.h5", storage.read(f"{folder.url}/cache.h5")[:-1] + b"?")
    forget_copies(copies)
    for _ in range(2):
        assert [damage["path"] for damage in verify(cache=place(url))["damaged"]] == [f"{url}/cache.h5"]
        with pytest.raises(UlfineError, match=f"{url}/cache.h5 is damaged: run the command that made the cache again"):
            make_split(cache=place(url), name="lt", labelled_max=3, imbalance=2)
    assert run(out=url)["shards_encoded"] == 0
    assert verify(cache=place(url))["damaged"] == []


def test_copies__stay_below_the_bound(run, url, copies, monkeypatch):
    run(out=url)
    forget_copies(copies)
    size = len(storage.read(f"{url}/shards/00000.h5"))
    monkeypatch.setenv("ULFINE_LOCAL_CACHE", str(3 * size))
    opened = FeatureCache.open(url)
    whole = opened.features()
    kept = [path for path in place(url).glob("shards/*.h5") if path.stat().st_size]
    assert 1 <= len(kept) <= 3
    np.testing.assert_array_equal(opened.features(), whole)


def test_split__is_there_for_other_machines(run, url, copies):
    run(out=url)
    asked = {"cache": place(url), "name": "lt", "labelled_max": 3, "imbalance": 2}
    drawn = make_split(**asked)
    assert drawn["path"] == f"{url}/splits/lt.h5"
    forget_copies(copies)
    opened = FeatureCache.open(url)
    assert opened.split_names() == ["lt"]
    assert len(opened.read_split("lt").labelled) == drawn["labelled"]
    # Drawn again it is the same, and another protocol needs another name.
    make_split(**asked)
    with pytest.raises(UlfineError, match=f"{url} has a split 'lt' of another protocol"):
        make_split(**asked | {"imbalance": 1})
    for name in ("lt.h5", "lt.h5.sha256"):
        storage.remove(f"{url}/splits/{name}")
    assert FeatureCache.open(url).split_names() == []


def test_split__that_another_machine_draws_at_once(run, url, copies, monkeypatch):
    run(out=url)
    write_new = storage.write_new

    def other_is_first(at, data):
        storage.write_over(at, b"another split")
        return write_new(at, data)

    monkeypatch.setattr("ulfine_cache.store.objects.writing.write_new", other_is_first)
    with pytest.raises(UlfineError, match=f"another process has drawn {url}/splits/lt.h5 in the meantime"):
        make_split(cache=place(url), name="lt", labelled_max=3, imbalance=2)


def test_cache__over_a_bad_network(run, s3, copies, tmp_path):
    network, bucket, _ = s3
    run(index="none", shard_size=10)
    network.fault = at_random(0.25, 5)
    assert run(out=f"{bucket}/cache", index="none", shard_size=10)["shards"] == 3
    assert sum(network.faults.values()) - network.faults[""] >= 5
    forget_copies(copies)
    opened = FeatureCache.open(f"{bucket}/cache")
    np.testing.assert_array_equal(opened.features(), FeatureCache.open(tmp_path / "cache").features())
    network.fault = lambda method, path: ""
    assert shards_at(f"{bucket}/cache") == shards_in(tmp_path / "cache")
    assert verify(cache=place(f"{bucket}/cache"))["damaged"] == []


def test_cache__that_gives_up_leaves_whole_shards_and_goes_on(run, s3, copies, tmp_path, monkeypatch):
    network, bucket, _ = s3
    monkeypatch.setenv("ULFINE_STORAGE_PATIENCE", "0.5")
    network.fault = lambda method, path: LOST_ANSWER if method == "PUT" and "00002" in path else ""
    with pytest.raises(UlfineError, match=rf"gave up on {bucket}/cache/shards/00002\.h5 after .* it goes on"):
        run(out=f"{bucket}/cache", index="none")
    network.fault = lambda method, path: ""
    run(index="none")
    local = shards_in(tmp_path / "cache")
    # The third was written by a request whose answer was lost.
    assert shards_at(f"{bucket}/cache") == {name: local[name] for name in ("00000.h5", "00001.h5", "00002.h5")}
    with pytest.raises(UlfineError, match="is unfinished"):
        FeatureCache.open(f"{bucket}/cache")
    forget_copies(copies)
    assert run(out=f"{bucket}/cache", index="none")["shards_encoded"] == 2
    assert shards_at(f"{bucket}/cache") == local


def test_call__is_recorded_without_local_copies(run, url, copies):
    run(out=url)
    assert str(copies) not in str(FeatureCache.open(url).attributes)
