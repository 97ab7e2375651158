"""Probabilities of labelled rows from fits that did not see their labels: what finds wrong labels and stacks models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils import _safe_indexing as rows_of  # the documented tool for developers

from ulfine_fast.scikit.labelled_folds import LabelledKFold
from ulfine_fast.scikit.partial_labels import read_labels


@dataclass(frozen=True)
class OutOfFold:
    """What `out_of_fold_probabilities` gives.

    Attributes:
        rows: int64 (n,), the rows of X that were left out once, rising.
        labels: int64 (n,), their classes as places in `classes`.
        probabilities: float64 (n, C), each row sums to 1.
        classes: (C,) the classes, sorted.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    classes: NDArray[Any]


def out_of_fold_probabilities(
    estimator: BaseEstimator, X: Any, y: Any, *, n_splits: int = 5, random_state: int = 0, **fit_params: Any
) -> OutOfFold:
    """Leave labelled rows out by turns (`LabelledKFold`), and give their probabilities from the fit without them.

    Unlabelled rows of y train in every fold. A class's only labelled row cannot be left out and is not in the answer.

    Args:
        estimator: `ULFineClassifier` or a pipeline that ends with one; a clone is fitted for each fold.
        X: float (N, D), an array or a data frame.
        y: (N,) labels, -1 or missing where unlabelled; or classes alone, with ``ULFineClassifier(unlabelled=...)``.
        n_splits: K, at least 2.
        random_state: Seed of the folds.
        **fit_params: What `fit` gets besides, such as `text_features`.

    Raises:
        ValueError: As `LabelledKFold` and `ULFineClassifier.fit`.

    Example:
        >>> from ulfine_fast import ULFineClassifier
        >>> X = np.eye(4)[[0, 1, 0, 1, 0, 1]] + 0.01
        >>> y = ["cat", "dog", "cat", "dog", "-1", "-1"]
        >>> found = out_of_fold_probabilities(ULFineClassifier("zero-shot"), X, y, n_splits=2)
        >>> found.rows.tolist(), found.classes[found.probabilities.argmax(1)].tolist()
        ([0, 1, 2, 3], ['cat', 'dog', 'cat', 'dog'])
    """
    partial = read_labels(y)
    places = np.flatnonzero(partial.known)
    parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
    fitted: Any = None
    for train, test in LabelledKFold(n_splits, random_state=random_state).split(X, y):
        fitted = clone(estimator)
        fitted.fit(rows_of(X, train), rows_of(y, train), **fit_params)
        parts.append((test, fitted.predict_proba(rows_of(X, test))))
    rows, probabilities = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(rows)
    rows = rows[order]
    labels = np.searchsorted(fitted.classes_, partial.labels[np.searchsorted(places, rows)])
    return OutOfFold(rows, labels, probabilities[order], fitted.classes_)
