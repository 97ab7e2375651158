"""Labels of which some are missing, as people who write Python have them: -1, None or NaN, in any container."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

UNLABELLED = -1


def with_missing_marked(y: Any) -> Any:
    """Write -1 where a label is missing.

    Missing are None, NaN and pandas' NA and NaT among names or whole numbers: a list, an array of objects, a Series of
    pandas or polars, categories too. An array of floats is left as it is: there a NaN may as well be a computation that
    failed, and scikit-learn refuses it.

    Args:
        y: (N,) labels in any form.

    Returns:
        `y` itself where nothing is missing, else an array of objects (N,).

    Example:
        >>> with_missing_marked(["cat", None, "dog"])
        array(['cat', -1, 'dog'], dtype=object)
    """
    if hasattr(y, "null_count"):  # polars, whose numbers with nulls would become floats
        labels = np.array(y.to_list(), dtype=object) if y.null_count() else None
    elif isinstance(y, list | tuple):
        labels = np.array(y, dtype=object) if any(_is_missing(label) for label in y) else None
    else:
        kind = getattr(getattr(y, "dtype", None), "kind", "")
        labels = np.asarray(y, dtype=object) if getattr(y, "ndim", 0) == 1 and kind not in "biufcUS" else None
        # pandas' nullable numbers have the kind of their numbers.
        if hasattr(y, "isna") and kind != "f" and y.isna().any().all():
            labels = np.asarray(y, dtype=object)
    if labels is None or labels.ndim != 1:
        return y
    missing = np.array([_is_missing(label) for label in labels], dtype=bool)
    if not missing.any():
        return y
    labels = labels.copy()
    labels[missing] = UNLABELLED
    return labels


def is_unlabelled(y: NDArray[Any]) -> NDArray[np.bool_]:
    """Which labels are -1, or the string ``"-1"`` that numpy makes of it among strings; bool (N,)."""
    if y.dtype.kind in "OUS":
        return np.array([isinstance(label, str | int | np.integer) and str(label) == "-1" for label in y], dtype=bool)
    return y == UNLABELLED


def plain_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels of one type as an array of that type: an array of objects that held names and -1 holds only names now."""
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels):
        return labels.astype(str)
    if labels.dtype.kind == "O" and all(_is_whole(label) for label in labels):
        return labels.astype(np.int64)
    return labels


def _is_whole(label: Any) -> bool:
    return isinstance(label, int | np.integer) and not isinstance(label, bool)


def _is_missing(label: Any) -> bool:
    # pandas need not be installed for its NA to be recognised, and NA != NA is neither true nor false.
    if label is None or type(label).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(label, float | np.floating) and bool(np.isnan(label))
