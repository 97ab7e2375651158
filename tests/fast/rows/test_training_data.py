import dataclasses

import numpy as np
import pytest
import torch

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_fast.rows.streamed_rows import StreamedRows
from ulfine_fast.rows.training_data import TrainingData, load_training_data, make_training_data


def arrays(**changes):
    generator = np.random.default_rng(0)
    defaults = {
        "features": generator.normal(size=(6, 4)),
        "labels": np.array([0, 1, 2, 0, 1, 2]),
        "unlabelled": generator.normal(size=(3, 4)),
        "text": generator.normal(size=(3, 4)),
        "class_names": ("a", "b", "c"),
    }
    return defaults | changes


def test_make_training_data__unit_length_and_types():
    data = make_training_data(**arrays())
    for tensor in (data.features, data.unlabelled, data.text):
        assert tensor.dtype == torch.float32
        assert tensor.norm(dim=1) == pytest.approx(torch.ones(len(tensor)))
    assert data.labels.dtype == torch.int64
    assert (data.n_classes, data.n_features, data.labelled_counts.tolist()) == (3, 4, [2, 2, 2])


def test_make_training_data__no_unlabelled_rows():
    assert make_training_data(**arrays(unlabelled=np.empty((0, 4)))).unlabelled.shape == (0, 4)


def test_make_training_data__class_with_text_needs_no_labelled_row():
    data = make_training_data(**arrays(labels=np.array([0, 1, 1, 0, 1, 0])))
    assert data.labelled_counts.tolist() == [3, 3, 0]


def broken(row, value):
    features = np.ones((6, 4))
    features[row] = value
    return features


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"features": np.empty((0, 4)), "labels": np.empty(0, int)}, "no labelled rows"),
        ({"class_names": ("a",), "labels": np.zeros(6, int), "text": None}, "one class only"),
        ({"class_names": (), "labels": np.full(6, -1), "text": None}, "has no classes: a classifier needs two"),
        ({"labels": np.array([0, 1, 1, 0, 1, 0]), "text": None}, "class 'c' has no labelled rows"),
        ({"labels": np.zeros(6, int), "text": None}, r"class 'b' \(and 1 more\) has no labelled rows"),
        ({"text": np.ones((3, 5))}, r"shape \(3, 5\), expected \(3, 4\)"),
        ({"text": np.ones((2, 4))}, r"shape \(2, 4\), expected \(3, 4\)"),
        ({"text": np.eye(4)[:3] * [[1], [0], [1]]}, "text feature of class 'b'"),
        ({"features": broken(4, np.nan)}, "labelled features of .* NaN or infinite values in 1 row, first in row 4"),
        ({"unlabelled": broken(2, np.inf)}, "unlabelled features of .* first in row 2"),
        ({"text": broken(1, np.nan)[:3]}, "text features of .* first in row 1"),
    ],
)
def test_make_training_data__refuses(changes, words):
    with pytest.raises(UlfineError, match=words) as error:
        make_training_data(**arrays(**changes))
    assert "\n" not in str(error.value)


def test_load_training_data__holds_the_rows_of_the_split(opened: FeatureCache):
    split = opened.read_split("lt")
    data = load_training_data(opened, split)
    assert data.features.numpy() == pytest.approx(opened.features(split.labelled), abs=1e-6)
    assert data.unlabelled.numpy() == pytest.approx(opened.features(split.unlabelled), abs=1e-6)
    assert data.labels.tolist() == opened.labels[split.labelled].tolist()
    assert data.class_names == tuple(opened.class_names)


def test_load_training_data__cannot_reach_test_rows_or_the_truth(opened: FeatureCache):
    """Everything reachable from the data is independent of test features and of the truth of unlabelled rows."""
    split = opened.read_split("lt")
    before = load_training_data(opened, split)
    assert {field.name for field in dataclasses.fields(TrainingData)} == {
        *("features", "labels", "unlabelled", "text", "class_names", "strong_views"),
    }
    hidden = np.concatenate([split.unlabelled, split.val, split.test])
    changed = FeatureCache.open(opened.path)
    changed.labels = opened.labels.copy()
    changed.labels[hidden] = 0
    after = load_training_data(changed, split)
    for name in ("features", "labels", "unlabelled", "text"):
        assert torch.equal(getattr(before, name), getattr(after, name))
    rows = torch.cat([before.features, before.unlabelled])
    test = torch.as_tensor(opened.features(split.test))
    assert (rows @ test.T).max() < 0.9999


def test_load_training_data__strong_views_of_the_unlabelled_rows_alone(make_cache):
    generator = np.random.default_rng(0)
    labels = np.array([0, 1, 0, 1, -1, -1, -1])
    features = generator.normal(size=(7, 3, 4)).astype(np.float32)
    cache = FeatureCache.open(make_cache("views", features=features, labels=labels))
    assert load_training_data(cache, cache.read_split(None)).strong_views is None
    cache.attributes["views"] = "weak-strong:2"
    data = load_training_data(cache, cache.read_split(None))
    assert data.strong_views is not None
    strong = data.strong_views()
    unit = features[4:] / np.linalg.norm(features[4:], axis=2, keepdims=True)
    assert (strong.dtype, strong.shape) == (torch.float16, (3, 2, 4))
    assert strong.float().numpy() == pytest.approx(unit[:, 1:], abs=2e-3)
    assert data.unlabelled.numpy() == pytest.approx(unit[:, 0], abs=2e-3)


def test_make_training_data__a_dimension_that_no_text_uses_is_no_text_of_zeros():
    data = make_training_data(**arrays(text=np.eye(4)[:3]))
    assert data.text is not None
    assert torch.equal(data.text, torch.eye(4)[:3])


def test_all_unlabelled__are_the_rows_themselves_or_what_they_would_take(opened: FeatureCache):
    data = make_training_data(**arrays())
    assert data.all_unlabelled is data.unlabelled
    # A million rows of 16 numbers of 4 bytes.
    data = load_training_data(opened, opened.read_split("lt"))
    many = dataclasses.replace(data, unlabelled=StreamedRows(opened, np.zeros(10**6, np.int64)))
    with pytest.raises(UlfineError, match=r"needs all 1000000 unlabelled rows at once \(64 MB\)"):
        _ = many.all_unlabelled


def test_load_training_data__does_not_read_rows_that_stay_on_the_disk(opened: FeatureCache, monkeypatch):
    split, read, asked = opened.read_split("lt"), opened.features, []

    def features(rows, view=0):
        asked.extend(rows.tolist())
        return read(rows, view)

    monkeypatch.setattr(opened, "features", features)
    data = load_training_data(opened, split, streams=True)
    assert asked == split.labelled.tolist()
    assert len(data.unlabelled) == len(split.unlabelled) > 0
