"""Labels of which some are missing, as people who write Python have them: -1, None or NaN, in any container."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, column_or_1d

from ulfine_cache.wording.counts import subject

UNLABELLED = -1

_MISSING_AS_TEXT = ("", "nan", "NaN", "None", "<NA>", "NaT", "-1.0")
"""What missing labels become when somebody turns them into strings."""


@dataclass(frozen=True)
class PartialLabels:
    """Labels of some rows.

    Attributes:
        known: bool (N,), which rows are labelled.
        labels: (n_known,) of the labelled rows, in their order: strings, truth values, whole numbers or floats.
    """

    known: NDArray[np.bool_]
    labels: NDArray[Any]


def read_labels(y: Any) -> PartialLabels:
    """Tell labelled and unlabelled rows apart, and find the one type that all labels have.

    Unlabelled are -1, the string ``"-1"`` that numpy makes of it among names, None, pandas' NA and NaT, what a masked
    array masks, and NaN, except among floats: there a NaN may as well be a computation that failed.

    Args:
        y: (N,) labels: an array, a list, a Series of pandas or polars, a data frame of one column.

    Raises:
        ValueError: y has another shape, or holds NaN among floats, fractions, labels of several types, or of a type
            that cannot name a class, such as dates.

    Warns:
        UserWarning: A class is called as a missing label is that was turned into a string, such as ``"nan"``.

    Example:
        >>> found = read_labels(["cat", None, "dog"])
        >>> found.known.tolist(), found.labels.tolist()
        ([True, False, True], ['cat', 'dog'])
    """
    column: NDArray[Any] = column_or_1d(_as_array(y), warn=True)
    if column.dtype.kind == "O":
        found = _of_objects(column)
    else:
        if column.dtype.kind == "f":
            _refuse_nan(np.isnan(column))
            assert_all_finite(column, input_name="y")
        known = column != ("-1" if column.dtype.kind == "U" else UNLABELLED)
        found = PartialLabels(known, column[known])
    if len(found.labels):
        check_classification_targets(found.labels)
    if found.labels.dtype.kind == "U":
        _warn_of_missing_as_text(found.labels)
    return found


def _as_array(y: Any) -> NDArray[Any]:
    """The labels in an array, of objects where some are missing or their types are not known to be one."""
    if y is None:
        raise ValueError("fit requires y to be passed, but the target y is None: give the labels, -1 where unlabelled.")
    if hasattr(y, "columns"):
        if len(y.columns) != 1:
            raise ValueError(f"y is a data frame of {len(y.columns)} columns: choose the one that holds the labels.")
        y = y[y.columns[0]]
    if isinstance(y, np.ma.MaskedArray):
        labels = np.ma.getdata(y).astype(object)
        labels[np.ma.getmaskarray(y)] = None
        return labels
    if isinstance(y, list | tuple):
        # numpy would make strings of numbers that stand among names.
        return np.array(y, dtype=object)
    if hasattr(y, "null_count"):  # polars, whose numbers with nulls would become floats
        return np.array(y.to_list(), dtype=object) if y.null_count() else np.asarray(y)
    if hasattr(y, "isna") and not isinstance(y.dtype, np.dtype):  # pandas' own types
        return np.array(list(y), dtype=object)
    array = np.asarray(y)
    if array.dtype.kind == "T":  # numpy's strings of any length
        return array.astype(object)
    if array.dtype.kind not in "OUbiuf":
        raise _no_class(array.dtype.name)
    return array


def _of_objects(column: NDArray[Any]) -> PartialLabels:
    known = np.array([not (_is_missing(label) or _is_minus_one(label)) for label in column], dtype=bool)
    kinds: dict[str, int] = {}
    for row in np.flatnonzero(known):
        kinds.setdefault(_kind(column[row]), int(row))
    labels = column[known]
    match sorted(kinds):
        case []:
            return PartialLabels(known, np.empty(0, dtype=np.int64))
        case ["names"]:
            return PartialLabels(known, labels.astype(str))
        case ["truth values"]:
            return PartialLabels(known, labels.astype(bool))
        case ["whole numbers"]:
            return PartialLabels(known, _whole(labels))
        case ["floats"] | ["floats", "whole numbers"]:
            _refuse_nan(np.array([_is_nan(label) for label in column], dtype=bool))
            floats = labels.astype(np.float64)
            assert_all_finite(floats, input_name="y")
            return PartialLabels(known, floats)
        case [first, second, *_] if first in _KINDS and second in _KINDS:
            raise ValueError(
                f"y mixes {first} and {second} ({column[kinds[first]]!r} in row {kinds[first]}, "
                f"{column[kinds[second]]!r} in row {kinds[second]}): write all labels as names, such as "
                f"{str(column[kinds[second]])!r}."
            )
        case found:
            raise _no_class(next(kind for kind in found if kind not in _KINDS))


_KINDS = ("floats", "names", "truth values", "whole numbers")


def _kind(label: Any) -> str:
    if isinstance(label, str):
        return "names"
    if isinstance(label, bool | np.bool_):
        return "truth values"
    if isinstance(label, int | np.integer):
        return "whole numbers"
    return "floats" if isinstance(label, float | np.floating) else type(label).__name__


def _whole(labels: NDArray[Any]) -> NDArray[np.int64]:
    try:
        return labels.astype(np.int64)
    except OverflowError as error:
        raise ValueError("y holds whole numbers beyond 64 bits: write all labels as names.") from error


def _no_class(kind: str) -> ValueError:
    return ValueError(
        f"y holds labels of type {kind}, but classes are names, whole numbers or truth values: turn labels into "
        "strings, and write None or '-1' where a row is unlabelled."
    )


def _refuse_nan(nan: NDArray[np.bool_]) -> None:
    if nan.any():
        raise ValueError(
            f"Input y contains NaN among floats, first in row {int(np.argmax(nan))}, which may as well be a failed "
            "computation: write -1 where a row is unlabelled (in pandas `y.fillna(-1)`, or the type Int64)."
        )


def _warn_of_missing_as_text(labels: NDArray[np.str_]) -> None:
    for name, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if name in _MISSING_AS_TEXT or name.strip() == "-1":
            who = subject(int(count), "row", "is/are")
            warnings.warn(
                f"{who} of a class in y called {str(name)!r}, as missing labels are that were turned into strings: "
                "where they are unlabelled, write '-1' or None",
                UserWarning,
                stacklevel=4,
            )


def _is_minus_one(label: Any) -> bool:
    if isinstance(label, str):
        return label == "-1"
    return isinstance(label, int | float | np.integer | np.floating) and label == UNLABELLED


def _is_missing(label: Any) -> bool:
    # pandas need not be installed for its NA to be recognised, and NA != NA is neither true nor false.
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return _is_nan(label) or (isinstance(label, np.datetime64 | np.timedelta64) and bool(np.isnat(label)))


def _is_nan(label: Any) -> bool:
    return isinstance(label, float | np.floating) and bool(np.isnan(label))
