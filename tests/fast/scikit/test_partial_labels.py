import datetime
import enum
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.exceptions import DataConversionWarning

from ulfine_fast.scikit.partial_labels import read_labels

WORDS = ["cat", None, "dog"]
BOOLS = [True, None, False]
FLOATS = [3.0, None, 4.0]
DAYS = [datetime.datetime(2020, 1, 1), None, datetime.datetime(2020, 1, 2)]


def named(labels):
    """Ids that tell container and type."""
    return [
        pytest.param(y, id=f"{type(y).__module__}.{type(y).__name__} {getattr(y, 'dtype', place)}")
        for place, y in enumerate(labels)
    ]


@pytest.mark.parametrize(
    "y",
    named(
        [
            WORDS,
            tuple(WORDS),
            ["cat", -1, "dog"],
            ["cat", "-1", "dog"],
            ["cat", float("nan"), "dog"],
            np.array(["cat", "-1", "dog"]),
            np.array(WORDS, dtype=object),
            np.array(["cat", np.nan, "dog"], dtype=object),
            np.array(["cat", -1.0, "dog"], dtype=object),
            np.array(WORDS, dtype=object)[:, None].ravel(),
            pd.Series(WORDS),
            pd.Series(WORDS, dtype="string"),
            pd.Series(WORDS, dtype="string[pyarrow]"),
            pd.Series(WORDS, dtype=object),
            pd.Series(WORDS, dtype="category"),
            pd.array(WORDS),
            pd.DataFrame({"y": WORDS}),
            pd.DataFrame({"y": ["cat", -1, "dog"]}),
            pl.Series(WORDS),
            pl.Series(WORDS, dtype=pl.Categorical),
            pl.Series(WORDS, dtype=pl.Enum(["cat", "dog"])),
            pl.DataFrame({"y": WORDS}),
        ]
    ),
)
def test_read_labels__names(y):
    found = read_labels(y)
    assert found.known.tolist() == [True, False, True]
    assert found.labels.tolist() == ["cat", "dog"]
    assert found.labels.dtype.kind == "U"


@pytest.mark.parametrize(
    "y",
    named(
        [
            [3, None, 4],
            [3, float("nan"), 4],
            [3, "-1", 4],
            np.array([3, -1, 4]),
            np.array([3, -1, 4], dtype=np.int8),
            np.ma.masked_array([3, 5, 4], mask=[False, True, False]),
            pd.Series([3, -1, 4]),
            pd.Series([3, None, 4], dtype="Int64"),
            pd.Series([3, None, 4], dtype="int64[pyarrow]"),
            pd.Series([3, None, 4], dtype="category").astype(pd.CategoricalDtype([3, 4])),
            pd.DataFrame({"y": [3, -1, 4]}),
            pl.Series([3, None, 4]),
            pl.DataFrame({"y": [3, None, 4]}),
        ]
    ),
)
def test_read_labels__whole_numbers(y):
    found = read_labels(y)
    assert found.known.tolist() == [True, False, True]
    assert found.labels.tolist() == [3, 4]
    assert found.labels.dtype.kind == "i"


@pytest.mark.parametrize(
    "y",
    named(
        [
            BOOLS,
            [True, -1, False],
            np.array([np.True_, None, np.False_], dtype=object),
            pd.Series(BOOLS, dtype="boolean"),
            pd.Series(BOOLS, dtype="bool[pyarrow]"),
            pl.Series(BOOLS),
        ]
    ),
)
def test_read_labels__truth_values(y):
    found = read_labels(y)
    assert (found.known.tolist(), found.labels.tolist()) == ([True, False, True], [True, False])
    assert found.labels.dtype == bool


@pytest.mark.parametrize(
    "y", named([pd.Series([True, False], dtype="boolean"), pl.Series([True, False]), [True, False]])
)
def test_read_labels__truth_values_of_all_rows(y):
    found = read_labels(y)
    assert found.labels.dtype == bool and found.known.all()


@pytest.mark.parametrize(
    "y",
    named(
        [
            FLOATS,
            [3, None, 4.0],
            np.array([3.0, -1.0, 4.0]),
            np.array([3.0, -1.0, 4.0], dtype=object),
            pd.Series(FLOATS, dtype="Float64"),
            pd.Series(FLOATS, dtype="double[pyarrow]"),
            pl.Series(FLOATS),
        ]
    ),
)
def test_read_labels__floats(y):
    found = read_labels(y)
    assert (found.known.tolist(), found.labels.tolist()) == ([True, False, True], [3.0, 4.0])
    assert found.labels.dtype == np.float64


@pytest.mark.parametrize(
    "y", named([np.array([3.0, np.nan]), [3.0, float("nan")], pd.Series([3.0, None]), pl.Series([3.0, float("nan")])])
)
def test_read_labels__nan_among_floats_may_be_a_failed_computation(y):
    with pytest.raises(ValueError, match=r"Input y contains NaN among floats, first in row 1.*write -1.*fillna"):
        read_labels(y)


class Colour(enum.Enum):
    red = 1
    blue = 2


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", 1, None], r"y mixes names and whole numbers \('a' in row 0, 1 in row 1\): write all labels as names"),
        (np.array([1, "a"], dtype=object), r"y mixes names and whole numbers \('a' in row 1, 1 in row 0\)"),
        ([True, 2, 0], "y mixes truth values and whole numbers"),
        (["a", 1.5], "y mixes floats and names"),
        (DAYS, "labels of type datetime, but classes are names, .* into strings"),
        (pd.Series(DAYS), r"labels of type datetime64\[\w+\]"),
        (pd.Series(DAYS).dt.tz_localize("UTC"), "labels of type Timestamp"),
        (pl.Series(DAYS), "labels of type datetime"),
        (np.array(["2020-01-01", "NaT"], dtype="datetime64[D]"), r"labels of type datetime64\[D\]"),
        (pd.Series([datetime.timedelta(1)]), "labels of type timedelta64"),
        (np.array([1j, 2j]), "labels of type complex128"),
        (np.array([b"a", b"b"]), "labels of type bytes"),
        ([b"a", b"b"], "labels of type bytes"),
        (list(Colour), "labels of type Colour"),
        ([Decimal(1), Decimal(2)], "labels of type Decimal"),
        (["a", Decimal(2)], "labels of type Decimal"),
        ([2**70, 1], "beyond 64 bits"),
        ([0.5, 1.5], "Unknown label type: continuous"),
        ([0.5, None, 1.5], "Unknown label type: continuous"),
        ([0.0, float("inf")], "Input y contains infinity"),
        (np.array([0.0, np.inf]), "Input y contains infinity"),
        (None, "requires y to be passed, but the target y is None"),
        (pd.DataFrame({"a": [1], "b": [2]}), "a data frame of 2 columns: choose the one that holds the labels"),
        (pl.DataFrame({"a": [1], "b": [2]}), "a data frame of 2 columns"),
        ([[1, 2], [3, 4]], "should be a 1d array"),
        ([[1, 2], [3]], "labels of type list"),
        (np.eye(3), "should be a 1d array"),
        ("abc", "should be a 1d array"),
        ({1, 2}, "should be a 1d array"),
    ],
    ids=str,
)
def test_read_labels__what_is_refused(y, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_labels(y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "nan", "None", "<NA>", "NaT", "-1.0", " -1"])
def test_read_labels__warns_of_missing_labels_that_became_strings(name):
    with pytest.warns(UserWarning, match="2 rows are of a class in y called .*write '-1' or None"):
        found = read_labels(np.array(["cat", name, "dog", name]))
    assert found.known.all()


def test_read_labels__column_vectors_as_scikit_learn_does():
    with pytest.warns(DataConversionWarning):
        found = read_labels(np.array([[0], [-1], [1]]))
    assert found.labels.tolist() == [0, 1]


@pytest.mark.parametrize("y", [[], [None, None], np.full(2, -1), np.array(["-1"])], ids=str)
def test_read_labels__nothing_labelled(y):
    found = read_labels(y)
    assert not found.known.any() and not len(found.labels)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 1 has no strings of any length")
def test_read_labels__strings_of_any_length():
    y = np.array(["cat", "-1", "dog"], dtype=np.dtypes.StringDType())
    assert read_labels(y).labels.tolist() == ["cat", "dog"]
