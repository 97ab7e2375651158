"""Indices built in parts: the bytes of one built at once, what a kill leaves, and candidates compared in the shards."""

import h5py
import numpy as np
import pytest

from tests.cache.search.test_index import a_cache, clustered, nearest, noise, shards_of
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Silent
from ulfine_cache.search.exact_search import exact_search, unit_rows
from ulfine_cache.search.index import index_cache, read_index, search
from ulfine_cache.search.index_choice import auto_kind
from ulfine_cache.search.mergeable import has_short_codes, is_mergeable
from ulfine_cache.search.merging import open_lists, write_merged
from ulfine_cache.search.stored_rows import StoredRows
from ulfine_cache.store.shards import Shard, write_shard
from ulfine_cache.verify import verify

ROWS, WIDTH = 6000, 32


@pytest.fixture
def small_parts(monkeypatch):
    """Three parts of 6,000 rows in shards of 500."""
    monkeypatch.setattr("ulfine_cache.search.parts.PART_ROWS", 2000)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A cache whose index was merged from three parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ulfine_cache.search.parts.PART_ROWS", 2000)
        return a_cache(tmp_path_factory.mktemp("merged"), clustered(ROWS, WIDTH), "IVF64,RaBitQ", size=500)


@pytest.mark.parametrize(
    ("kind", "merged", "short"),
    [
        ("IVF64,RaBitQ", True, True),
        ("IVF64_HNSW32,PQ16", True, True),
        ("IVF64,PQ16x4", True, True),
        ("IVF64,SQfp16", True, False),
        ("IVF64,Flat", True, False),
        ("IVF64,PQ16x4fs", False, False),
        ("IVF64,PQ16x4fs,Refine(SQfp16)", False, False),
        ("OPQ16,IVF64,PQ16", False, False),
        ("HNSW32", False, False),
        ("Flat", False, False),
    ],
)
def test_is_mergeable__by_kind(kind, merged, short):
    assert (is_mergeable(kind), has_short_codes(kind)) == (merged, short)


def test_auto_kind__beyond_the_own_vectors():
    assert auto_kind(2_000_000, 512).endswith("Refine(SQfp16)")
    assert auto_kind(5_000_000, 512) == "IVF4096,RaBitQ"
    assert auto_kind(100_000_000, 768) == "IVF16384,RaBitQ"


@pytest.mark.parametrize("kind", ["IVF64,RaBitQ", "IVF64,PQ8x4", "IVF64,SQ8", "IVF3000,Flat"])
def test_index_cache__parts_give_the_bytes_of_one(tmp_path, monkeypatch, kind):
    import faiss

    features = clustered(ROWS, WIDTH)
    shards = shards_of(tmp_path, features, 500)
    for rows in (10**9, 2000, 1700):
        monkeypatch.setattr("ulfine_cache.search.parts.PART_ROWS", rows)
        report = index_cache(tmp_path, shards, kind, progress=Silent())
        (tmp_path / "image.faiss").rename(tmp_path / f"{rows}.faiss")
        assert report.quality["parts"] == {10**9: 1, 2000: 3, 1700: 3}[rows]
    whole, *others = ((tmp_path / f"{rows}.faiss").read_bytes() for rows in (10**9, 2000, 1700))
    assert others == [whole, whole]
    # And those that FAISS writes of an index that got all rows itself.
    index = faiss.read_index(str(tmp_path / "2000.faiss"))
    index.reset()
    index.add(unit_rows(shards, np.arange(ROWS)))
    assert faiss.serialize_index(index).tobytes() == whole
    assert not (tmp_path / ".index").exists()


def test_write_merged__as_faiss_merges(tmp_path):
    import faiss

    rows = clustered(900, 16).astype(np.float32)
    trained = faiss.index_factory(16, "IVF300,RaBitQ", faiss.METRIC_INNER_PRODUCT)
    trained.cp.min_points_per_centroid = 1
    trained.train(rows)
    ours, theirs = [], faiss.clone_index(trained)
    for number, few in enumerate((rows[:40], rows[40:41])):  # most lists stay empty, which is written otherwise
        part = faiss.clone_index(trained)
        part.add_with_ids(few, np.arange(40 * number, 40 * number + len(few)))
        ours.append(tmp_path / f"{number}.faiss")
        faiss.write_index(part, str(ours[-1]))
        theirs.merge_from(part, 0)
    write_merged(ours, trained, tmp_path / "merged.faiss")
    assert (tmp_path / "merged.faiss").read_bytes() == faiss.serialize_index(theirs).tobytes()
    assert open_lists(tmp_path / "merged.faiss").ntotal == 41


class _Killed(BaseException):
    pass


class _Kills(Silent):
    """Ends the build when so many rows are indexed."""

    def __init__(self, rows):
        self.rows, self.notes = rows, []

    def update(self, stage, done, total, **figures):
        if done >= self.rows:
            raise _Killed

    def note(self, message):
        self.notes.append(message)


def test_index_cache__goes_on_with_the_parts_that_exist(tmp_path, small_parts, shared):
    cache, report = shared
    features = clustered(ROWS, WIDTH)
    shards = shards_of(tmp_path, features, 500)
    with pytest.raises(_Killed):
        index_cache(tmp_path, shards, report.kind, progress=_Kills(4500))
    assert not (tmp_path / "image.faiss").exists()
    (folder,) = (tmp_path / ".index").iterdir()
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.faiss")}
    assert sorted(before) == ["00000.faiss", "00001.faiss", "trained.faiss"]
    # A part that was damaged meanwhile is built again, the others are not.
    content = bytearray((folder / "00001.faiss").read_bytes())
    content[-9] ^= 1
    (folder / "00001.faiss").write_bytes(content)
    watching = _Kills(ROWS + 1)
    with pytest.raises(_Killed):
        index_cache(tmp_path, shards, report.kind, progress=watching)
    assert watching.notes == ["index: going on: 1 of 3 parts are built"]
    assert (folder / "00000.faiss").stat().st_mtime_ns == before["00000.faiss"]
    assert (folder / "trained.faiss").stat().st_mtime_ns == before["trained.faiss"]
    watching = _Kills(10**9)
    index_cache(tmp_path, shards, report.kind, progress=watching)
    assert watching.notes[0] == "index: going on: 3 of 3 parts are built"
    assert (tmp_path / "image.faiss").read_bytes() == (cache.path / "image.faiss").read_bytes()
    assert not (tmp_path / ".index").exists()


def test_index_cache__parts_of_other_rows_are_not_taken(tmp_path, small_parts, recorder):
    shards = shards_of(tmp_path, clustered(ROWS, WIDTH), 500)
    with pytest.raises(_Killed):
        index_cache(tmp_path, shards, "IVF64,RaBitQ", progress=_Kills(4500))
    (former,) = (tmp_path / ".index").iterdir()
    other = noise(500, WIDTH)[:, None]
    write_shard(shards[1], Shard(other, np.zeros(500, np.int64), ["x"] * 500, [""] * 500, [""] * 500))
    with pytest.raises(_Killed):
        index_cache(tmp_path, shards, "IVF64,RaBitQ", progress=_Kills(2500))
    assert former not in (tmp_path / ".index").iterdir()
    index_cache(tmp_path, shards, "IVF64,RaBitQ", progress=recorder)
    assert recorder.notes[0] == "index: going on: 1 of 3 parts are built"


def test_search__ranks_by_the_features_themselves(shared):
    cache, report = shared
    assert report.quality["candidates"] == 16
    assert report.quality["recall_at_10"] >= 0.97
    queries = np.ascontiguousarray(cache.features(np.arange(0, ROWS, 97)))
    similarities, rows = search(cache, queries, 10)
    np.testing.assert_allclose(similarities[:, 0], 1, atol=1e-6)
    assert (np.diff(similarities, axis=1) <= 0).all()
    taken = cache.features(rows.ravel()).reshape(*rows.shape, -1)
    np.testing.assert_allclose(similarities, np.einsum("qkd,qd->qk", taken, queries), atol=1e-6)
    true = nearest(cache, queries, 10)
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows, true, strict=True)]) >= 0.95


def test_read_index__with_the_tuned_setting(tmp_path):
    cache, report = a_cache(tmp_path, noise(2000, WIDTH), "IVF64,RaBitQ")
    assert report.quality["nprobe"] > 1
    assert read_index(cache).lists.nprobe == report.quality["nprobe"]


def test_search__too_few_or_many_neighbours_are_exact(shared):
    cache, _ = shared
    queries = np.ascontiguousarray(cache.features(np.array([5, 900])))
    # The lists that are searched do not hold all rows.
    index = read_index(cache)
    assert (index.search(queries[:1], 5000)[1] < 0).any()
    np.testing.assert_array_equal(search(cache, queries, 200)[1], exact_search(cache.shard_paths, queries, 200)[1])
    np.testing.assert_array_equal(search(cache, queries, 99)[1][:, 0], [5, 900])
    assert (search(cache, queries, ROWS + 3)[1][:, -3:] == -1).all()


def test_search__a_damaged_shard_is_named(tmp_path, small_parts):
    cache, _ = a_cache(tmp_path, clustered(ROWS, WIDTH), "IVF64,RaBitQ", size=500)
    shard = cache.shard_paths[3]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 4
    queries = np.ascontiguousarray(cache.features(np.arange(1500, 1510)))
    shard.write_bytes(content)
    with pytest.raises(UlfineError, match=r"00003.h5 is damaged"):
        search(cache, queries, 10)


def test_read_index__without_candidates_it_is_the_lists_alone(tmp_path, small_parts):
    cache, _ = a_cache(tmp_path, clustered(ROWS, WIDTH), "IVF64,SQfp16", size=500)
    index = read_index(cache)
    assert (index.ntotal, index.d) == (ROWS, WIDTH)
    with h5py.File(cache.path / "cache.h5") as file:
        assert "candidates" not in file.attrs["index_quality"]


def test_verify__finds_and_repairs_it(tmp_path, small_parts):
    cache, _ = a_cache(tmp_path, clustered(ROWS, WIDTH), "IVF64,RaBitQ", size=500)
    path = cache.path / "image.faiss"
    before = path.read_bytes()
    content = bytearray(before)
    content[-5] ^= 1
    path.write_bytes(content)
    (cache.path / ".index" / "left").mkdir(parents=True)
    verify(cache=cache.path, repair=True)
    assert path.read_bytes() == before
    assert not (cache.path / ".index").exists()


def test_index_cache__auto_without_clusters_compares_the_shards(tmp_path, monkeypatch, recorder):
    monkeypatch.setattr("ulfine_cache.search.index_choice.EXACT_ROWS", ROWS - 1)
    monkeypatch.setattr("ulfine_cache.search.index_choice._OWN_VECTORS_BYTES", 1)
    cache, report = a_cache(tmp_path, noise(ROWS, WIDTH), size=2000, progress=recorder)
    assert (report.kind, report.request, report.quality) == ("none", "auto", {})
    assert any("every row is compared" in note for note in recorder.notes)
    assert not (tmp_path / "image.faiss").exists()
    assert cache.attributes["index"] == "none"


def test_index_cache__a_single_row(tmp_path):
    cache, report = a_cache(tmp_path, noise(1, 8), "IVF1,RaBitQ")
    assert report.quality["recall_at_10"] == 1.0
    assert search(cache, cache.features(), 2)[1].tolist() == [[0, -1]]


@pytest.mark.parametrize("views", [1, 3])
def test_stored_rows__any_order_twice_and_of_several_views(tmp_path, views):
    paths, all_features = [], []
    for number, rows in enumerate((700, 0, 3, 256)):
        features = np.stack([noise(700, 8)[number : number + rows] for _ in range(views)], axis=1)
        features[:, 1:] *= -1
        (tmp_path / "shards").mkdir(exist_ok=True)
        paths.append(tmp_path / "shards" / f"{number:05d}.h5")
        write_shard(paths[-1], Shard(features, np.zeros(rows, np.int64), ["p"] * rows, [""] * rows, [""] * rows))
        all_features.append(features[:, 0])
    whole = np.concatenate(all_features)
    rows = np.random.default_rng(0).integers(0, len(whole), 3000)
    np.testing.assert_array_equal(StoredRows(paths, [700, 0, 3, 256], 8).read(rows), whole[rows])


def test_stored_rows__compressed_by_another_program(tmp_path):
    (path,) = shards_of(tmp_path, noise(300, 8), 300)
    with h5py.File(path, "r+") as file:
        values = file["features"][()]
        del file["features"]
        file.create_dataset("features", data=values, chunks=(100, 1, 8), compression="gzip")
    (path.with_name(path.name + ".sha256")).unlink()
    rows = np.array([299, 0, 0, 150])
    np.testing.assert_array_equal(StoredRows([path], [300], 8).read(rows), values[rows, 0])
