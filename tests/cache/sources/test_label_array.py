"""Labels of features that were made elsewhere: names, and numbers that are not 0 to C - 1."""

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features

FEATURES = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
TEXT = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)


def imported(tmp_path, progress=None, **arrays):
    np.savez(tmp_path / "x.npz", features=FEATURES, **arrays)
    options = {} if progress is None else {"progress": progress}
    import_features(file=tmp_path / "x.npz", out=tmp_path / "cache", index="none", **options)
    cache = FeatureCache.open(tmp_path / "cache")
    return [*cache.class_names], cache.labels.tolist()


@pytest.mark.parametrize(
    ("labels", "names", "indices"),
    [
        (np.array(["dog", "cat", "", "dog", "nan"]), ["cat", "dog"], [1, 0, -1, 1, -1]),
        (np.array([b"dog", b"cat", b"-1", b"dog", b"cat"]), ["cat", "dog"], [1, 0, -1, 1, 0]),
        (np.array(["10", "9", "10", "9", "9"]), ["9", "10"], [1, 0, 1, 0, 0]),
        (np.array([60, 5, -1, 17, 5]), ["class 5", "class 17", "class 60"], [2, 0, -1, 1, 0]),
        (np.array([1, 2, 3, 1, 2]), ["class 1", "class 2", "class 3"], [0, 1, 2, 0, 1]),
        (np.array([0, 1, 3, 0, 1], np.uint8), ["class 0", "class 1", "class 3"], [0, 1, 2, 0, 1]),
        (np.array([[0], [1], [1], [0], [-1]]), ["class 0", "class 1"], [0, 1, 1, 0, -1]),
        (np.array([0.0, 1.0, np.nan, 1.0, -1.0]), ["class 0", "class 1"], [0, 1, -1, 1, -1]),
    ],
)
def test_labels__become_indices(tmp_path, labels, names, indices):
    assert imported(tmp_path, labels=labels) == (names, indices)


def test_labels__that_are_renumbered_are_said(tmp_path, recorder):
    imported(tmp_path, recorder, labels=np.array([60, 5, -1, 17, 5]))
    assert "the labels are not 0 to C - 1: the 3 numbers among them are the classes (5, 17, 60)" in recorder.notes


def test_labels__names_in_the_order_that_is_given(tmp_path):
    names = np.array(["zebra", "ant", "cat"])
    assert imported(
        tmp_path, labels=np.array(["cat", "ant", "", "cat", "ant"]), class_names=names, text_features=TEXT
    ) == (
        ["zebra", "ant", "cat"],
        [2, 1, -1, 2, 1],
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"labels": np.array(["a", "b", "c", "a", "x"]), "class_names": np.array(["a", "b", "c"])},
            "label of row 4 is 'x'",
        ),
        ({"labels": np.array(["a", "b", "c", "a", "b"]), "text_features": TEXT}, "add class_names in their order"),
        ({"labels": np.array([1, 2, 3, 1, 2]), "text_features": TEXT}, "seem to count from 1: subtract 1"),
        ({"labels": np.array([0.5, 0, 0, 0, 0])}, "label of row 0 is 0.5: use whole numbers or names"),
        ({"labels": np.array(["1.5", "2", "1", "1", "1"])}, "row 0: the label 1.5 is a number with a fraction"),
        ({"labels": np.array(["", "", "", "nan", "-1"])}, "at least the classes must be known"),
    ],
)
def test_labels__refusals(tmp_path, arrays, message):
    with pytest.raises(UlfineError, match=message):
        imported(tmp_path, **arrays)


def test_sets__by_other_words_and_another_name(tmp_path):
    sets = np.array(["Training", "valid", "test", "", "dev"])
    imported(tmp_path, labels=np.array([0, 1, 0, 1, 0]), set=sets)
    assert FeatureCache.open(tmp_path / "cache").set_names.tolist() == ["train", "val", "test", "", "val"]
