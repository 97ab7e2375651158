import numpy as np
import pandas as pd
import polars as pl
import pytest

from ulfine_fast.scikit.partial_labels import is_unlabelled, plain_labels, with_missing_marked

WORDS = ["cat", None, "dog"]


@pytest.mark.parametrize(
    "y",
    [
        WORDS,
        tuple(WORDS),
        np.array(WORDS, dtype=object),
        np.array(["cat", np.nan, "dog"], dtype=object),
        pd.Series(WORDS),
        pd.Series(WORDS, dtype="string"),
        pd.Series(WORDS, dtype=object),
        pd.Series(WORDS, dtype="category"),
        pd.array(WORDS),
        pl.Series(WORDS),
        pl.Series(WORDS, dtype=pl.Categorical),
    ],
    ids=lambda y: f"{type(y).__module__}.{type(y).__name__} {getattr(y, 'dtype', '')}",
)
def test_with_missing_marked__names(y):
    marked = with_missing_marked(y)
    assert marked.tolist() == ["cat", -1, "dog"]
    assert is_unlabelled(marked).tolist() == [False, True, False]
    assert plain_labels(marked[~is_unlabelled(marked)]).dtype.kind == "U"


@pytest.mark.parametrize("y", [[3, None, 4], pd.Series([3, None, 4], dtype="Int64"), pl.Series([3, None, 4])], ids=type)
def test_with_missing_marked__whole_numbers(y):
    marked = with_missing_marked(y)
    assert marked.tolist() == [3, -1, 4]
    assert plain_labels(marked[~is_unlabelled(marked)]).dtype == np.int64


@pytest.mark.parametrize(
    "y",
    [
        np.array([0.0, np.nan]),
        pd.Series([0.0, np.nan]),
        pd.Series([0, -1]),
        pl.Series(["cat", "-1"]),
        np.array(["cat", "nan"]),
        np.array([[0], [1]]),
        pd.DataFrame({"y": ["cat", None]}),
        None,
        [0, 1],
    ],
    ids=type,
)
def test_with_missing_marked__leaves_the_rest_to_scikit_learn(y):
    assert with_missing_marked(y) is y


def test_plain_labels__mixed_types_stay_objects():
    assert plain_labels(np.array(["cat", 1], dtype=object)).dtype == object
    assert plain_labels(np.array([True, False], dtype=object)).dtype == object
