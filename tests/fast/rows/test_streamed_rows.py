"""Rows read from the disk against the same rows in memory."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Silent
from ulfine_cache.store.cache_file import CacheContent, write_cache_file
from ulfine_cache.store.shards import Shard, shard_path, write_shard
from ulfine_fast.gradient.strong_views import strong_views
from ulfine_fast.registry import get_method
from ulfine_fast.rows.streamed_rows import StreamedRows
from ulfine_fast.rows.training_data import load_training_data
from ulfine_fast.training import train

WIDTH, N_CLASSES = 8, 4


@pytest.fixture
def sharded(tmp_path: Path) -> FeatureCache:
    """4,300 rows of four clusters in shards of 700; every ninth row is labelled, every eleventh a test row."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(N_CLASSES, WIDTH))
    truth = generator.integers(0, N_CLASSES, 4300)
    features = centres[truth] + 0.8 * generator.normal(size=(4300, WIDTH))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    number = np.arange(4300)
    labels = np.where((number % 9 == 0) | (number % 11 == 0), truth, -1)
    (tmp_path / "cache" / "shards").mkdir(parents=True)
    paths = []
    for start in range(0, 4300, 700):
        rows = slice(start, start + 700)
        names = [f"{row}.jpg" for row in number[rows]]
        sets = ["test" if row % 11 == 0 else "train" for row in number[rows]]
        paths.append(shard_path(tmp_path / "cache", len(paths)))
        write_shard(paths[-1], Shard(features[rows, None].astype(np.float16), labels[rows], names, sets, names))
    write_cache_file(tmp_path / "cache", paths, CacheContent([str(k) for k in range(N_CLASSES)]), progress=Silent())
    return FeatureCache.open(tmp_path / "cache")


@pytest.mark.parametrize("size", [100, 256, 1000, 5000])
def test_split__same_blocks_as_a_tensor(sharded: FeatureCache, size: int):
    rows = sharded.read_split(None).unlabelled
    loaded = load_training_data(sharded, sharded.read_split(None)).all_unlabelled
    streamed = StreamedRows(sharded, rows, read_rows=600)
    assert len(streamed) == len(loaded)
    # A block is never larger than what is read at once.
    for block, expected in zip(streamed.split(size), loaded.split(min(size, 600)), strict=True):
        assert torch.equal(block, expected)


def reads_of(streamed: StreamedRows, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each later read takes."""
    read, counts = streamed._read, []

    def counted(rows: np.ndarray, view: int = 0) -> torch.Tensor:
        counts.append(len(rows))
        return read(rows, view)

    monkeypatch.setattr(streamed, "_read", counted)
    return counts


@pytest.mark.parametrize(
    ("n_rows", "size", "reads"), [(4300, 100, [600] * 7 + [100]), (4200, 250, [500] * 8 + [200]), (600, 600, [600])]
)
def test_split__reads_whole_blocks_once_and_no_more_than_may_be_read_at_once(
    sharded: FeatureCache, monkeypatch: pytest.MonkeyPatch, n_rows: int, size: int, reads: list[int]
):
    streamed = StreamedRows(sharded, np.arange(n_rows), read_rows=600)
    counts = reads_of(streamed, monkeypatch)
    assert sum(map(len, streamed.split(size))) == n_rows
    assert counts == reads


def test_getitem__rows_in_any_order(sharded: FeatureCache):
    split = sharded.read_split(None)
    loaded = load_training_data(sharded, split).all_unlabelled
    streamed = StreamedRows(sharded, split.unlabelled)
    for rows in (torch.tensor([7, 3000, 7, 520, 0]), torch.arange(10, 1500), torch.tensor([], dtype=torch.int64)):
        assert torch.equal(streamed[rows], loaded[rows])
    assert torch.equal(streamed[:], loaded)
    assert torch.equal(streamed[20:40:3], loaded[20:40:3])


def test_ulfine__streams_to_the_same_bits(sharded: FeatureCache):
    """Rounds on a sample, a last one on all rows: a model from rows on the disk is that from rows in memory."""
    split = sharded.read_split(None)
    method = get_method("ulfine")
    data = load_training_data(sharded, split)
    assert len(data.unlabelled) > 3000
    loaded = train(method, method.settings(), data, 0, Silent())
    streams = replace(data, unlabelled=StreamedRows(sharded, split.unlabelled, read_rows=4096))
    streamed = train(method, method.settings(), streams, 0, Silent())
    assert streamed.history == loaded.history
    for name, values in loaded.model.state_dict().items():
        assert torch.equal(streamed.model.state_dict()[name], values)
    without = train(method, method.settings.model_validate({"unlabelled": False}), data, 0, Silent())
    assert not torch.equal(without.model.state_dict()["prototypes"], loaded.model.state_dict()["prototypes"])


def test_methods__that_need_all_rows_say_so(sharded: FeatureCache):
    data = load_training_data(sharded, sharded.read_split(None), streams=True)
    method = get_method("label-spreading")
    with pytest.raises(UlfineError, match=r"needs all .* unlabelled rows at once .*raise --memory") as error:
        train(method, method.settings(), data, 0, Silent())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["lp", "gda", "knn"])
def test_methods__that_see_labelled_rows_alone_do_not_mind(sharded: FeatureCache, name: str):
    method = get_method(name)
    settings = method.settings.model_validate({"steps": 5} if "steps" in method.settings.model_fields else {})
    split = sharded.read_split(None)
    models = [
        train(method, settings, load_training_data(sharded, split, streams=streams), 0, Silent()).model
        for streams in (False, True)
    ]
    for before, after in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        assert torch.equal(before, after)


def test_blocks__with_nan_name_the_shard(sharded: FeatureCache):
    shard = shard_path(sharded.path, 2)
    names = [""] * 700
    features = np.ones((700, 1, WIDTH), np.float16)
    features[5] = np.nan
    write_shard(shard, Shard(features, np.zeros(700, np.int64), names, names, names))
    streamed = StreamedRows(sharded, np.arange(4300), read_rows=500)
    with pytest.raises(UlfineError, match=r"00002\.h5 holds features that are NaN or infinite: delete it"):
        list(streamed.split(100))


def test_batches__each_pass_has_every_row_once_in_a_seeded_order(sharded: FeatureCache):
    streamed = StreamedRows(sharded, np.arange(4300), read_rows=1000)

    def draw(seed: int, count: int) -> list[torch.Tensor]:
        return list(islice(streamed.batches(100, torch.Generator().manual_seed(seed)), count))

    first, second = torch.cat(draw(0, 43)), torch.cat(draw(0, 86)[43:])
    assert first.sort().values.tolist() == second.sort().values.tolist() == list(range(4300))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.cat(draw(0, 43)))
    assert not torch.equal(first, torch.cat(draw(1, 43)))
    # Rows of several chunks share a batch, and a window of ten batches holds few chunks.
    assert len((first[:100] // 256).unique()) >= 4
    assert len((first[:1000] // 256).unique()) <= 5
    assert [len(batch) for batch in draw(0, 100)] == [100] * 100


@pytest.mark.parametrize(("batch_size", "window"), [(400, 800), (700, 700), (1500, 1500)])
def test_batches__a_window_holds_whole_batches_and_one_at_least(
    sharded: FeatureCache, monkeypatch: pytest.MonkeyPatch, batch_size: int, window: int
):
    streamed = StreamedRows(sharded, np.arange(4300), read_rows=1000)
    counts = reads_of(streamed, monkeypatch)
    _ = streamed[next(streamed.batches(batch_size, torch.Generator().manual_seed(0)))]
    assert counts == [window]


def test_batches__leave_out_what_is_left_over_at_the_end_of_a_pass(sharded: FeatureCache):
    """4,300 rows make fourteen batches of 300, and 100 rows are left over."""
    streamed = StreamedRows(sharded, np.arange(4300), read_rows=1000)
    drawn = list(islice(streamed.batches(300, torch.Generator().manual_seed(0)), 28))
    assert [len(batch) for batch in drawn] == [300] * 28
    for a_pass in (drawn[:14], drawn[14:]):
        assert len(torch.cat(a_pass).unique()) == 4200


def test_batches__of_fewer_rows_than_a_batch_have_them_all(sharded: FeatureCache):
    streamed = StreamedRows(sharded, np.arange(40), read_rows=1000)
    for batch in islice(streamed.batches(100, torch.Generator().manual_seed(0)), 3):
        assert batch.sort().values.tolist() == list(range(40))


def test_batches__rows_come_from_one_read(sharded: FeatureCache):
    """What was drawn does not need the disk again before the next window."""
    loaded = load_training_data(sharded, sharded.read_split(None)).all_unlabelled
    streamed = StreamedRows(sharded, sharded.read_split(None).unlabelled, read_rows=1000)
    drawn = streamed.batches(250, torch.Generator().manual_seed(0))
    assert torch.equal(streamed[first := next(drawn)], loaded[first])
    hidden = sharded.path / "shards"
    hidden.rename(sharded.path / "hidden")
    for batch in islice(drawn, 3):
        assert torch.equal(streamed[batch], loaded[batch])
    with pytest.raises(UlfineError, match="is missing"):
        streamed[next(drawn)]


def test_batches__two_streams_do_not_disturb_each_other(sharded: FeatureCache):
    loaded = load_training_data(sharded, sharded.read_split(None)).all_unlabelled
    streamed = StreamedRows(sharded, sharded.read_split(None).unlabelled, read_rows=1000)
    streams = [streamed.batches(250, torch.Generator().manual_seed(seed)) for seed in range(2)]
    for drawn in [next(stream) for stream in streams]:
        assert torch.equal(streamed[drawn], loaded[drawn])
    (sharded.path / "shards").rename(sharded.path / "hidden")
    for drawn in [next(stream) for stream in streams]:
        assert torch.equal(streamed[drawn], loaded[drawn])


@pytest.mark.parametrize("name", ["fixmatch", "ulfine-paper"])
def test_gradient_methods__stream_to_the_same_accuracy(sharded: FeatureCache, name: str):
    split, method = sharded.read_split(None), get_method(name)
    test, truth = torch.as_tensor(sharded.features(split.test)), sharded.labels[split.test]

    def accuracy(*, streams: bool) -> float:
        data = load_training_data(sharded, split, streams=streams)
        if isinstance(data.unlabelled, StreamedRows):
            data = replace(data, unlabelled=StreamedRows(sharded, split.unlabelled, read_rows=1024))
        model = train(method, method.settings.model_validate({"steps": 60}), data, 0, Silent()).model
        return float((model(test).argmax(1).numpy() == truth).mean())

    assert accuracy(streams=True) == pytest.approx(accuracy(streams=False), abs=0.03)
    assert accuracy(streams=True) > 0.7


def test_strong_views__stay_on_the_disk_too(make_cache):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(600, 3, 4)).astype(np.float32)
    labels = np.where(np.arange(600) < 6, np.arange(600) % 2, -1)
    cache = FeatureCache.open(make_cache("views", features=features, labels=labels))
    cache.attributes["views"] = "weak-strong:2"
    split = cache.read_split(None)
    loaded, streamed = (load_training_data(cache, split, streams=streams) for streams in (False, True))
    draw = [strong_views(data, "auto", 0.25, torch.Generator().manual_seed(0)) for data in (loaded, streamed)]
    assert draw[0][1] == draw[1][1] == {"strong_views": "cached", "cached_strong_views": 2}
    rows = torch.tensor([300, 2, 2, 593, 40, 41])
    for _ in range(3):
        expected, found = (view(rows) for view, _ in draw)
        assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-3)
        assert found.norm(dim=1) == pytest.approx(torch.ones(6))
