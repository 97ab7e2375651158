"""Unlabelled rows beside y, where meta-estimators leave them alone; in y they would renumber -1 to a class."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing as rows_of  # the documented tool for developers
from sklearn.utils.validation import check_array, check_consistent_length

from ulfine_cache.store.unit_norm import objection
from ulfine_fast.scikit.partial_labels import UNLABELLED, read_labels


def set_aside_unlabelled(X: Any, y: Any) -> tuple[Any, NDArray[Any], Any]:
    """Take the unlabelled rows out of X and y, for meta-estimators: they count what y holds as classes.

    Args:
        X: (N, D), an array or a data frame.
        y: (N,) labels, -1 or missing where unlabelled, as `ULFineClassifier.fit` takes them.

    Returns:
        X and y of the labelled rows, and X of the others, all in their order.

    Example:
        >>> from ulfine_fast import ULFineClassifier
        >>> X, y, unlabelled = set_aside_unlabelled(np.eye(3), ["cat", "-1", "dog"])
        >>> y.tolist(), unlabelled.tolist()
        (['cat', 'dog'], [[0.0, 1.0, 0.0]])
        >>> ULFineClassifier("zero-shot", unlabelled=unlabelled).fit(X, y).predict(X).tolist()
        ['cat', 'dog']
    """
    found = read_labels(y)
    check_consistent_length(X, found.known)
    labelled, others = (np.flatnonzero(chosen) for chosen in (found.known, ~found.known))
    return rows_of(X, labelled), found.labels, rows_of(X, others)


def checked_unlabelled(
    rows: ArrayLike, name: str, width: int, columns: NDArray[np.object_] | None
) -> NDArray[np.float32]:
    """Rows without labels, like those of X.

    Args:
        rows: float (M, D), an array or a data frame with the columns of X; possibly 0 rows.
        name: What the error calls them.
        width: D.
        columns: (D,) names of the columns of X, or None.

    Raises:
        ValueError: They are no such rows.
    """
    checked: NDArray[np.float32] = check_array(
        rows, dtype="float32", input_name=name, estimator="ULFineClassifier", ensure_min_samples=0
    )
    if checked.shape[1] != width:
        raise ValueError(
            f"{name} has {checked.shape[1]} features, X has {width}: give both as they are after the same steps."
        )
    own = getattr(rows, "columns", None)
    if own is not None and columns is not None and list(own) != list(columns):
        raise ValueError(f"{name} has other columns than X, or in another order: give those of X.")
    if reason := objection(checked, f"the rows of {name}"):
        raise ValueError(reason)
    return checked


def refuse_a_class_of_unlabelled_rows() -> None:
    """Refuse to fit for a meta-estimator that has -1 among its classes.

    It renumbers y before it comes here, so that nothing in y tells. The callers do, as far as they are in this process:
    workers of `n_jobs` are not.

    Raises:
        ValueError: Some caller of scikit-learn or imbalanced-learn counts -1 as a class.
    """
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in ("sklearn", "imblearn"):
            caller = frame.f_code.co_name
            # `cross_val_predict` holds its encoder as `le`.
            for holder in (frame.f_locals.get("self"), frame.f_locals.get("le")):
                if isinstance(holder, BaseEstimator) and _has_class_minus_one(holder):
                    name = caller if caller == "cross_val_predict" else type(holder).__name__
                    raise ValueError(
                        f"{name} takes the unlabelled rows of y for a class of their own, -1: leave them out of y and "
                        "give them as ULFineClassifier(unlabelled=...); `ulfine_fast.set_aside_unlabelled(X, y)` parts "
                        "them."
                    )
        frame = frame.f_back


def _has_class_minus_one(holder: BaseEstimator) -> bool:
    classes = getattr(holder, "classes_", None)
    if not isinstance(classes, np.ndarray):
        return False
    return bool((classes.astype(str) == "-1").any() if classes.dtype.kind in "OUS" else (classes == UNLABELLED).any())
