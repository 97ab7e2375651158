"""The FAISS index: what `auto` chooses, how good it is, and that it is the same whenever it is built."""

import h5py
import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.info import cache_info
from ulfine_cache.progress import Silent
from ulfine_cache.search.exact_search import exact_search, without_row
from ulfine_cache.search.index import index_cache, search
from ulfine_cache.search.index_choice import auto_kind, exact_kind
from ulfine_cache.search.quiet_training import quiet_training
from ulfine_cache.store.cache_file import CacheContent, write_cache_file
from ulfine_cache.store.shards import Shard, shard_path, write_shard

LARGE = 20_000


def unit(values):
    return (values / np.linalg.norm(values, axis=-1, keepdims=True)).astype(np.float16)


def clustered(rows, width, clusters=300, spread=0.3):
    """Unit vectors in a cone, in clusters."""
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((clusters, width)) + 0.5
    return unit(centres[rng.integers(clusters, size=rows)] + spread * rng.standard_normal((rows, width)))


def noise(rows, width):
    return unit(np.random.default_rng(6).standard_normal((rows, width)))


def shards_of(folder, features, size):
    (folder / "shards").mkdir(parents=True)
    paths = []
    for number, start in enumerate(range(0, len(features), size)):
        part = features[start : start + size]
        names = [f"{start + place}.jpg" for place in range(len(part))]
        shard = Shard(part[:, None], np.zeros(len(part), np.int64), names, [""] * len(part), [""] * len(part))
        paths.append(shard_path(folder, number))
        write_shard(paths[-1], shard)
    return paths


def a_cache(folder, features, index="auto", size=1000, progress=None):
    paths = shards_of(folder, features, size)
    report = index_cache(folder, paths, index, progress=progress or Silent())
    content = CacheContent(["a"], {"model": "m", "weights_hash": "w", **report.attributes()})
    write_cache_file(folder, paths, content, progress=Silent())
    return FeatureCache.open(folder), report


@pytest.fixture
def low_limit(monkeypatch):
    """What `auto` does above the limit, with fewer rows than it takes otherwise."""
    monkeypatch.setattr("ulfine_cache.search.index_choice.EXACT_ROWS", LARGE - 1)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A cache above the limit of exact search."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ulfine_cache.search.index_choice.EXACT_ROWS", LARGE - 1)
        return a_cache(tmp_path_factory.mktemp("large"), clustered(LARGE, 64), size=8000)


def nearest(cache, queries, k):
    """Computed apart from FAISS."""
    return np.argsort(-(queries @ cache.features().T), axis=1, kind="stable")[:, :k]


def test_auto_kind__by_size():
    assert auto_kind(2, 512) == auto_kind(200_000, 512) == "Flat"
    assert auto_kind(200_001, 512) == "IVF1024,PQ256x4fs,Refine(SQfp16)"
    assert auto_kind(1_000_000, 512) == "IVF2048,PQ256x4fs,Refine(SQfp16)"
    assert auto_kind(10_000_000, 767) == "IVF8192,SQfp16"
    assert exact_kind(1_000_000, 512) == "Flat"
    assert exact_kind(10_000_000, 512) == "SQfp16"


def test_index_cache__small_is_exact(tmp_path, recorder):
    cache, report = a_cache(tmp_path, noise(300, 8), size=70, progress=recorder)
    assert (report.kind, report.quality["recall_at_10"]) == ("Flat", 1.0)
    assert set(report.quality) == {"recall_at_10", "ms_per_query", "ms_per_query_batched"}
    assert report.quality["ms_per_query"] > 0
    assert recorder.updates[-1] == ("indexing", 300, 300)
    queries = np.ascontiguousarray(cache.features()[:40])
    _, rows = search(cache, queries, 7)
    np.testing.assert_array_equal(rows, nearest(cache, queries, 7))


def test_index_cache__large_reaches_the_goal(large):
    cache, report = large
    assert report.kind == "IVF256,PQ32x4fs,Refine(SQfp16)"
    quality = report.quality
    assert quality["recall_at_10"] >= 0.97
    assert 1 <= quality["nprobe"] <= 64
    assert quality["sample_queries"] == 1000
    # Asked for here with rows that are not in the sample, and counted apart from it.
    own = np.arange(7, LARGE, 101)
    queries = cache.features(own)
    _, rows = without_row(search(cache, queries, 11), own)
    true = nearest(cache, queries, 11)
    found = [len(set(mine) & (set(exact) - {me})) / 10 for mine, exact, me in zip(rows, true, own, strict=True)]
    assert np.mean(found) >= 0.95


def test_index_cache__settings_travel_with_the_file(large):
    import faiss

    cache, report = large
    index = faiss.read_index(str(cache.path / "image.faiss"))
    assert faiss.extract_index_ivf(index).nprobe == report.quality["nprobe"]
    assert index.k_factor == 32


def test_index_cache__same_bytes_again(large, tmp_path):
    cache, report = large
    before = (cache.path / "image.faiss").read_bytes()
    # By the name of its kind, as a repair does.
    again = index_cache(tmp_path, cache.shard_paths, report.kind, progress=Silent())
    assert again.quality["nprobe"] == report.quality["nprobe"]
    assert (tmp_path / "image.faiss").read_bytes() == before


def test_index_cache__without_clusters_it_becomes_exact(low_limit, tmp_path, recorder):
    cache, report = a_cache(tmp_path, noise(LARGE, 64), size=8000, progress=recorder)
    assert (report.kind, report.request) == ("Flat", "auto")
    assert report.quality["recall_at_10"] == 1.0
    assert any("every row is compared" in note for note in recorder.notes)
    queries = np.ascontiguousarray(cache.features(np.arange(20)))
    np.testing.assert_array_equal(search(cache, queries, 5)[1], nearest(cache, queries, 5))


@pytest.mark.parametrize(
    ("kind", "setting"),
    [("IVF16,Flat", "nprobe"), ("HNSW16", "ef_search"), ("SQ4", None)],
)
def test_index_cache__a_kind_of_ones_own_is_tuned_and_measured(tmp_path, kind, setting):
    _, report = a_cache(tmp_path, clustered(2000, 8), kind)
    assert report.kind == kind
    assert setting is None or report.quality[setting] >= 1
    assert (0.97 if setting else 0.5) <= report.quality["recall_at_10"] <= 1


def test_index_cache__a_single_row(tmp_path):
    for kind in ("auto", "HNSW8"):
        cache, report = a_cache(tmp_path / kind, noise(1, 8), kind)
        assert report.quality["recall_at_10"] == 1.0
        assert search(cache, cache.features(), 2)[1].tolist() == [[0, -1]]


def test_index_cache__duplicates_stand_for_each_other(tmp_path):
    _, report = a_cache(tmp_path, np.tile(noise(20, 8), (50, 1)), "IVF16,PQ4x4fs,Refine(SQfp16)")
    assert report.quality["recall_at_10"] == 1.0
    assert report.quality["nprobe"] == 1


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("Banana", UsageError, "FAISS has no such index"),
        ("IVF16,Flat", UlfineError, "cannot be trained on 3 rows"),
        ("IDMap,Flat", UsageError, "cannot add plain rows"),
    ],
)
def test_index_cache__what_cannot_be_built(tmp_path, kind, error, message):
    with pytest.raises(error, match=message):
        index_cache(tmp_path, shards_of(tmp_path, noise(3, 8), 2), kind, progress=Silent())
    assert not (tmp_path / "image.faiss").exists()


def test_search__more_neighbours_than_the_lists_hold(tmp_path):
    cache, _ = a_cache(tmp_path, clustered(1500, 8), "IVF300,Flat")
    queries = np.ascontiguousarray(cache.features()[:3])
    for k in (100, 1400):
        np.testing.assert_array_equal(search(cache, queries, k)[1], nearest(cache, queries, k))
    similarities, rows = search(cache, queries, 1502)
    assert (rows[:, 1500:] == -1).all()
    assert np.isneginf(similarities[:, 1500:]).all()
    assert (rows[:, :1500] >= 0).all()


def test_search__many_neighbours_are_exact(tmp_path):
    cache, _ = a_cache(tmp_path, clustered(1500, 8), "IVF16,Flat")
    queries = np.ascontiguousarray(cache.features()[:3])
    np.testing.assert_array_equal(search(cache, queries, 120)[1], nearest(cache, queries, 120))


def test_without_row__found_or_not():
    rows = np.array([[4, 2, 9], [3, 5, 7]])
    similarities = np.array([[1.0, 0.8, 0.6], [0.9, 0.7, 0.5]], np.float32)
    similarities, rows = without_row((similarities, rows), np.array([2, 8]))
    assert rows.tolist() == [[4, 9], [3, 5]]
    np.testing.assert_allclose(similarities, [[1.0, 0.6], [0.9, 0.7]])


def test_exact_search__ties_blocks_and_too_few_rows(tmp_path):
    features = noise(9, 4)
    features[8] = features[0]
    queries = features[:2].astype(np.float32)
    similarities, rows = exact_search(shards_of(tmp_path, features, 4), queries, 12)
    assert sorted(rows[0, :2]) == [0, 8]
    np.testing.assert_allclose(similarities[0, :2], 1, atol=1e-3)
    assert (np.diff(similarities[:, :9], axis=1) <= 0).all()
    assert (rows[:, 9:] == -1).all()
    assert np.isneginf(similarities[:, 9:]).all()


def test_import_features__index_is_built_when_another_is_asked_for(tmp_path, recorder):
    np.savez(tmp_path / "f.npz", features=noise(400, 8).astype(np.float32), labels=np.arange(400) % 2)
    arguments = {"file": tmp_path / "f.npz", "out": tmp_path / "cache"}
    import_features(**arguments)
    import_features(**arguments, progress=recorder)
    assert recorder.notes == [f"{tmp_path / 'cache'} is complete: nothing to do"]
    assert import_features(**arguments, index="IVF4,Flat")["index"] == "IVF4,Flat"
    figures = cache_info(tmp_path / "cache")
    assert figures["index"] == "IVF4,Flat"
    assert figures["index_quality"]["recall_at_10"] >= 0.97
    assert figures["index_quality"]["exact_ms_per_query"] > 0
    (tmp_path / "cache" / "image.faiss").unlink()
    import_features(**arguments, index="IVF4,Flat")
    assert (tmp_path / "cache" / "image.faiss").is_file()
    with h5py.File(tmp_path / "cache" / "cache.h5") as file:
        assert file.attrs["index_request"] == "IVF4,Flat"


@pytest.mark.parametrize("kind", ["IVF32,Flat", "IVF4,PQ8", "OPQ4,IVF4,PQ4", "IVF4,PQ8x4fs,Refine(SQfp16)", "RQ2x4"])
def test_quiet_training__writes_no_line_and_the_same_bytes(kind, capfd):
    import faiss

    rows = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    loud, quiet = (faiss.index_factory(16, kind, faiss.METRIC_INNER_PRODUCT) for _ in range(2))
    loud.train(rows)
    assert "WARNING clustering" in capfd.readouterr().err
    with quiet_training(quiet):
        quiet.train(rows)
    assert capfd.readouterr() == ("", "")
    np.testing.assert_array_equal(faiss.serialize_index(quiet), faiss.serialize_index(loud))
