"""The cache directory: readable with h5py alone, movable, bounded in trust; and its index and lock."""

import multiprocessing
import os
import shutil
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.info import cache_info
from ulfine_cache.progress import Silent
from ulfine_cache.search.index import index_cache, search
from ulfine_cache.splits import make_split
from ulfine_cache.store.cache_file import CacheContent, TextPrototypes, write_cache_file
from ulfine_cache.store.lock import writing
from ulfine_cache.store.shards import Shard, read_header, read_shard, shard_path, write_shard

RNG = np.random.default_rng(3)


def unit_rows(*shape):
    values = RNG.normal(size=shape)
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float16)


def a_shard(features, labels, start=0):
    count = len(labels)
    return Shard(
        features=features,
        labels=np.asarray(labels, np.int64),
        paths=[f"klasse/{'ä' * ((start + k) % 4)}{start + k}.jpg" for k in range(count)],
        set_names=[("", "train", "val", "test")[(start + k) % 4] for k in range(count)],
        hashes=[f"{start + k:032x}" for k in range(count)],
        skipped=[("bad.jpg", 'why, oh "why"')] if start else [],
        request={"command": "test"},
    )


def before_projection(features, width):
    """Unit rows of another width that tell the features they belong to."""
    widened = np.zeros((*features.shape[:-1], width))
    widened[..., -features.shape[-1] :] = features[..., ::-1]
    return (widened / np.linalg.norm(widened, axis=-1, keepdims=True)).astype(np.float16)


def a_cache(folder, sizes=(5, 0, 15), views=2, width=6, index="Flat", pre_width=0):
    """Write a cache of several shards, one of them without rows, and return (folder, features, labels)."""
    total = sum(sizes)
    features, labels = unit_rows(total, views, width), np.arange(total) // 4 % 4 - 1
    (folder / "shards").mkdir(parents=True)
    paths, start = [], 0
    for number, size in enumerate(sizes):
        paths.append(shard_path(folder, number))
        rows = slice(start, start + size)
        shard = a_shard(features[rows], labels[rows], start)
        if pre_width and size:
            shard = replace(shard, features_pre=before_projection(features[rows], pre_width))
        write_shard(paths[-1], shard)
        start += size
    text = unit_rows(3, width).astype(np.float32)
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    report = index_cache(folder, paths, index, progress=Silent())
    attributes = {"model": "m", "weights_hash": "w", **report.attributes()}
    pre = before_projection(text, pre_width).astype(np.float32) if pre_width else None
    content = CacheContent(["a", "b", "c"], attributes, TextPrototypes(text, pre=pre))
    write_cache_file(folder, paths, content, progress=Silent())
    return folder, features, labels


@pytest.fixture
def cache(tmp_path):
    return a_cache(tmp_path / "cache")


def test_feature_cache__rows_and_views(cache):
    folder, features, labels = cache
    opened = FeatureCache.open(folder)
    assert (opened.n_rows, opened.n_views, opened.n_features, opened.n_classes) == (20, 2, 6, 3)
    for view in range(2):
        read = opened.features(view=view)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, features[:, view].astype(np.float32), atol=1e-3)
    rows = np.array([17, 0, 5, 0])
    np.testing.assert_array_equal(opened.features(rows), opened.features()[rows])
    assert opened.features(np.array([], np.int64)).shape == (0, 6)
    np.testing.assert_array_equal(opened.labels, labels)
    assert opened.set_names.tolist() == ["", "train", "val", "test"] * 5
    assert opened.paths[3] == "klasse/äää3.jpg"
    assert opened.paths_of(rows) == [opened.paths[row] for row in rows]
    assert len(set(opened.paths)) == 20
    for bad in (np.array([20]), np.array([-1])):
        with pytest.raises(IndexError):
            opened.features(bad)
    with pytest.raises(IndexError):
        opened.features(view=2)


def test_features__of_few_rows_leave_damage_elsewhere_alone(tmp_path):
    """Of a shard without a digest only the chunks that hold wanted rows are read; its checksums tell."""
    folder, features, _ = a_cache(tmp_path / "cache", sizes=(1200,), views=1, width=64)
    (folder / "shards" / "00000.h5.sha256").unlink()
    opened = FeatureCache.open(folder)
    path = shard_path(folder, 0)
    with h5py.File(path) as file:
        damaged_chunk = file["features"].id.get_chunk_info(2)
        assert damaged_chunk.chunk_offset == (512, 0, 0)
    with path.open("r+b") as file:
        file.seek(damaged_chunk.byte_offset + 100)
        file.write(b"damage")
    rows = np.array([1100, 7, 3])
    np.testing.assert_allclose(opened.features(rows), features[rows, 0].astype(np.float32), atol=1e-3)
    with pytest.raises(UlfineError, match="is damaged"):
        opened.features(np.array([3, 600]))


def test_cache_file__opens_with_h5py_alone_after_a_move(cache, tmp_path, monkeypatch):
    folder, features, labels = cache
    shutil.copytree(folder, tmp_path / "far" / "away")
    shutil.rmtree(folder)
    monkeypatch.chdir("/")
    with h5py.File(tmp_path / "far" / "away" / "cache.h5") as file:
        np.testing.assert_array_equal(file["features"][:], features)
        np.testing.assert_array_equal(file["label"][:], labels)
        assert [name.decode() for name in file["path"][:]][3] == "klasse/äää3.jpg"
        assert file["set"][1] == b"train"
        assert file["hash"][7] == f"{7:032x}".encode()
        assert file.attrs["schema_version"] == 2
    assert FeatureCache.open(tmp_path / "far" / "away").features().shape == (20, 6)


def test_write_shard__same_content_same_bytes(tmp_path):
    shard = a_shard(unit_rows(300, 1, 4), np.zeros(300))
    write_shard(tmp_path / "one.h5", shard)
    time.sleep(1.1)  # HDF5's own times have the resolution of a second
    write_shard(tmp_path / "two.h5", shard)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    with h5py.File(tmp_path / "one.h5") as file:
        assert file["features"].chunks == (256, 1, 4)
        assert file["features"].fletcher32
        assert file["features"].dtype == np.float16


def test_read_shard__round_trip(tmp_path):
    shard = a_shard(unit_rows(4, 2, 3), [0, -1, 2, 1], start=10)
    write_shard(tmp_path / "s.h5", shard)
    read = read_shard(tmp_path / "s.h5")
    np.testing.assert_array_equal(read.features, shard.features)
    assert list(read.paths) == list(shard.paths)
    assert read.skipped == [("bad.jpg", 'why, oh "why"')]
    assert read_header(tmp_path / "s.h5").request == {"command": "test"}


def test_features_pre__rows_views_and_prototypes(tmp_path):
    folder, features, _ = a_cache(tmp_path / "c", pre_width=9)
    opened = FeatureCache.open(folder)
    assert (opened.n_features, opened.n_features_pre) == (6, 9)
    for view in range(2):
        expected = before_projection(features[:, view], 9).astype(np.float32)
        read = opened.features(view=view, pre_projection=True)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, expected, atol=1e-3)
        np.testing.assert_allclose(np.linalg.norm(read, axis=1), 1, atol=1e-6)
    rows = np.array([17, 0, 5])
    before = opened.features(pre_projection=True)
    np.testing.assert_array_equal(opened.features(rows, pre_projection=True), before[rows])
    np.testing.assert_allclose(opened.features(), features[:, 0].astype(np.float32), atol=1e-3)
    assert opened.text_features_pre.shape == (3, 9)
    assert opened.text_features_pre.dtype == np.float32
    with h5py.File(folder / "cache.h5") as file:
        np.testing.assert_array_equal(file["features_pre"][:, 1], before_projection(features[:, 1], 9))
        assert file["features_pre"].dtype == np.float16
    with h5py.File(folder / "shards" / "00002.h5") as file:
        assert file["features_pre"].fletcher32
    np.testing.assert_array_equal(read_shard(shard_path(folder, 0)).features_pre, before_projection(features[:5], 9))


def test_features_pre__absent(cache):
    folder, _, _ = cache
    opened = FeatureCache.open(folder)
    assert opened.n_features_pre == 0
    assert opened.text_features_pre is None
    with pytest.raises(UlfineError, match=r"holds no features before the projection: .*--pre-projection"):
        opened.features(pre_projection=True)
    with h5py.File(folder / "cache.h5") as file:
        assert not [name for name in file if name.endswith("_pre")]
    with h5py.File(folder / "shards" / "00000.h5") as file:
        assert sorted(file) == ["features", "hash", "label", "path", "set", "skipped_path", "skipped_reason"]


def test_features_pre__missing_in_one_shard_only(tmp_path):
    folder, features, labels = a_cache(tmp_path / "c", pre_width=9)
    write_shard(shard_path(folder, 2), a_shard(features[5:], labels[5:], 5))
    paths = [shard_path(folder, number) for number in range(3)]
    with pytest.raises(UlfineError, match=r"00002\.h5 is damaged"):
        write_cache_file(folder, paths, CacheContent(["a", "b", "c"]), progress=Silent())


def exact_fingerprint(folder, shape=(4, 2, 3), before=None):
    """Write a cache of values that are the same on every machine."""
    features = np.zeros(shape, np.float16)
    features[..., 0] = 1
    (folder / "shards").mkdir(parents=True)
    path = shard_path(folder, 0)
    write_shard(path, replace(a_shard(features, [0, 1, -1, 0]), features_pre=before))
    attributes = {"model": "m", "weights_hash": "w", "index": "none"}
    text = TextPrototypes(np.eye(2, 3, dtype=np.float32))
    write_cache_file(folder, [path], CacheContent(["a", "b"], attributes, text), progress=Silent())
    return FeatureCache.open(folder).fingerprint


def test_fingerprint__counts_what_is_before_the_projection_where_there_is_something(tmp_path):
    # As format version 1 gave it before there were such features.
    assert exact_fingerprint(tmp_path / "without") == "6ebb98ca83bd6df9a6b6f4cd5a9b196589a8bdaa64bd0a684d7067d73028521c"
    before = np.eye(4, dtype=np.float16)[:, None].repeat(2, axis=1)
    first, same = (exact_fingerprint(tmp_path / name, before=before) for name in ("first", "same"))
    other = exact_fingerprint(tmp_path / "other", before=before[::-1])
    assert first == same
    assert len({first, other, exact_fingerprint(tmp_path / "none")}) == 3


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(0, 7), min_size=1, max_size=5).filter(sum))
def test_fingerprint__does_not_depend_on_the_shards(tmp_path_factory, sizes):
    global RNG
    RNG = np.random.default_rng(5)
    one, _, _ = a_cache(tmp_path_factory.mktemp("one") / "c", sizes, index="none")
    RNG = np.random.default_rng(5)
    two, _, _ = a_cache(tmp_path_factory.mktemp("two") / "c", (sum(sizes),), index="none")
    first, second = FeatureCache.open(one), FeatureCache.open(two)
    assert first.fingerprint == second.fingerprint
    np.testing.assert_array_equal(first.features(view=1), second.features(view=1))


def test_open__refusals(cache, tmp_path):
    folder, _, _ = cache
    with pytest.raises(UlfineError, match=r"no cache at .*nothing"):
        FeatureCache.open(tmp_path / "nothing")
    (tmp_path / "other").mkdir()
    with pytest.raises(UlfineError, match="is not a cache"):
        FeatureCache.open(tmp_path / "other")
    shutil.copytree(folder, tmp_path / "schema")
    (tmp_path / "schema" / "cache.h5.sha256").unlink()
    with h5py.File(tmp_path / "schema" / "cache.h5", "r+") as file:
        file.attrs["schema_version"] = 99
    with pytest.raises(UlfineError, match="has cache format 99"):
        FeatureCache.open(tmp_path / "schema")
    shutil.copytree(folder, tmp_path / "garbage")
    (tmp_path / "garbage" / "cache.h5").write_bytes(b"garbage")
    with pytest.raises(UlfineError, match=r"cache\.h5 is damaged"):
        FeatureCache.open(tmp_path / "garbage")
    # HDF5 itself would silently answer with zeros here.
    (folder / "shards" / "00002.h5").unlink()
    with pytest.raises(UlfineError, match=r"00002\.h5 is missing"):
        FeatureCache.open(folder)


def test_open__does_not_leave_the_directory(cache, tmp_path):
    folder, _, _ = cache
    shutil.copy(folder / "shards" / "00000.h5", tmp_path / "secret.h5")
    (folder / "cache.h5.sha256").unlink()
    with h5py.File(folder / "cache.h5", "r+") as file:
        del file["shard_path"]
        file["shard_path"] = np.array([b"../secret.h5", b"shards/00001.h5", b"shards/00002.h5"])
    with pytest.raises(UlfineError, match="outside the cache"):
        FeatureCache.open(folder)


def test_search__equals_numpy(cache):
    folder, _, _ = cache
    opened = FeatureCache.open(folder)
    queries = opened.features()[[6, 1]]
    similarities, rows = search(opened, queries, 3)
    expected = queries @ opened.features().T
    np.testing.assert_array_equal(rows, np.argsort(-expected, axis=1)[:, :3])
    np.testing.assert_allclose(similarities, -np.sort(-expected, axis=1)[:, :3], atol=1e-5)
    with pytest.raises(UlfineError, match="queries have 4 values"):
        search(opened, np.zeros((1, 4), np.float32), 1)


def test_search__without_an_index(tmp_path):
    folder, _, _ = a_cache(tmp_path / "c", index="none")
    with pytest.raises(UlfineError, match="has no index"):
        search(FeatureCache.open(folder), np.zeros((1, 6), np.float32), 1)


def test_cache_info__figures(cache):
    folder, _, labels = cache
    make_split(cache=folder, name="s", labelled_max=1, imbalance=1, unlabelled="uniform")
    figures = cache_info(folder)
    assert figures["rows"] == 20
    assert [figures[part] for part in ("labelled", "unlabelled", "val", "test")] == [6, 4, 3, 3]
    sets = np.array(["", "train", "val", "test"] * 5)
    for index, entry in enumerate(figures["per_class"]):
        assert entry["labelled"] == int(((labels == index) & np.isin(sets, ["", "train"])).sum())
    assert figures["splits"]["s"]["protocol"]["unlabelled"] == "uniform"
    assert figures["bytes"] > (folder / "cache.h5").stat().st_size


def _hold(path, entered):
    with writing(path):
        entered.set()
        time.sleep(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="uses fork")
def test_writing__second_process_is_refused_and_a_dead_one_forgotten(tmp_path):
    context = multiprocessing.get_context("spawn")
    entered = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "cache", entered))
    holder.start()
    assert entered.wait(60)
    with pytest.raises(UlfineError, match="another process is writing to"), writing(tmp_path / "cache"):
        pass
    holder.kill()
    holder.join()
    with writing(tmp_path / "cache"):
        pass


def _cache_of_sets(folder, names=("pear", "Apple", "fig"), text=True):
    """Nine rows: three of each class, unlabelled ones last of each; a test and a validation row."""
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, -1])
    sets = np.array(["train", "", "test", "train", "val", "", "train", "test", ""])
    features = np.eye(9, 12) + 0.1
    arrays = {"features": features, "labels": labels, "split": sets, "class_names": np.array(names)}
    np.savez(folder / "rows.npz", **arrays, **({"text_features": 2 * np.eye(3, 12)} if text else {}))
    import_features(file=folder / "rows.npz", out=folder / "sets", index="none")
    return FeatureCache.open(folder / "sets")


def test_training_and_test__are_the_rows_that_a_classifier_may_see(tmp_path):
    cache = _cache_of_sets(tmp_path)
    X, y, text = cache.training()
    assert y.tolist() == ["pear", "pear", "Apple", "Apple", "fig", "-1"]
    assert np.array_equal(X, cache.features(np.array([0, 1, 3, 5, 6, 8])))
    # In the order of the sorted names: Apple, fig, pear.
    assert text.argmax(1).tolist() == [1, 2, 0]
    X, y, text = cache.test()
    assert y.tolist() == ["pear", "fig"]
    assert np.array_equal(X, cache.features(np.array([2, 7])))
    assert text.argmax(1).tolist() == [1, 2, 0]
    (tmp_path / "bare").mkdir()
    assert _cache_of_sets(tmp_path / "bare", text=False).training().text_features is None


def test_training_and_test__of_a_split_hide_labels_that_it_takes_for_unknown(cache):
    cache = FeatureCache.open(cache[0])
    make_split(cache=cache.path, name="few", labelled_max=1, imbalance=1.0)
    drawn = cache.read_split("few")
    rows = np.sort(np.concatenate([drawn.labelled, drawn.unlabelled]))
    X, y, _ = cache.training("few")
    assert np.array_equal(X, cache.features(rows))
    names = np.array(cache.class_names)
    assert y[np.isin(rows, drawn.labelled)].tolist() == names[cache.labels[drawn.labelled]].tolist()
    assert len(drawn.unlabelled) and set(y[np.isin(rows, drawn.unlabelled)]) == {"-1"}
    X, y, _ = cache.test("few")
    assert np.array_equal(X, cache.features(drawn.test))
    assert y.tolist() == names[cache.labels[drawn.test]].tolist()


def test_training_and_test__what_is_refused(tmp_path, cache):
    with pytest.raises(UlfineError, match="no split"):
        FeatureCache.open(cache[0]).training("nowhere")
    (tmp_path / "minus").mkdir()
    with pytest.raises(UlfineError, match="a class called '-1', which means unlabelled: give it another name"):
        _cache_of_sets(tmp_path / "minus", names=("a", "-1", "b")).training()
    X, labels = np.eye(4), np.array([0, 0, 1, 1])
    np.savez(tmp_path / "plain.npz", features=X, labels=labels)
    import_features(file=tmp_path / "plain.npz", out=tmp_path / "plain", index="none")
    with pytest.raises(UlfineError, match="has no test rows: add test/ to the images, or name a split"):
        FeatureCache.open(tmp_path / "plain").test()
