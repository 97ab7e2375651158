"""The figures by which a classifier is judged: accuracy by class group, calibration, likelihood. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

N_BINS = 15
"""Bins of the calibration error, as in Guo et al., On Calibration of Modern Neural Networks, 2017."""

ACCURACIES = (
    "accuracy",
    "macro_accuracy",
    "head_accuracy",
    "medium_accuracy",
    "tail_accuracy",
    "many_accuracy",
    "median_accuracy",
    "few_accuracy",
)
"""Names of the accuracies, all fractions of 1."""

SCALARS = (*ACCURACIES, "ece", "nll")
"""Names of all figures that are one number."""


def class_groups(labelled_counts: NDArray[np.integer] | Sequence[int]) -> dict[str, NDArray[np.int64]]:
    """Split the classes into rank thirds and into the three count groups of the long-tail literature.

    Rank thirds: classes ordered by labelled count, largest first, equal counts by class index, then cut into three runs
    of equal length. Where C is not divisible by 3 the first runs get one class more: C = 10 gives 4 head, 3 medium and
    3 tail classes, C = 2 gives one head, one medium and no tail class.

    Count groups (Liu et al., Large-Scale Long-Tailed Recognition in an Open World, 2019): many, more than 100 labelled
    images; median, 20 to 100; few, fewer than 20.

    Args:
        labelled_counts: (C,) labelled images of each class.

    Returns:
        Sorted class indices under the names head, medium, tail, many, median, few; possibly empty.

    Example:
        >>> {name: list(map(int, classes)) for name, classes in class_groups([5, 150, 30]).items()}
        {'head': [1], 'medium': [2], 'tail': [0], 'many': [1], 'median': [2], 'few': [0]}
    """
    counts = np.asarray(labelled_counts, dtype=np.int64)
    ranked = np.argsort(-counts, kind="stable")
    head, medium, tail = (np.sort(run) for run in np.array_split(ranked, 3))
    return {
        "head": head,
        "medium": medium,
        "tail": tail,
        "many": np.flatnonzero(counts > 100),
        "median": np.flatnonzero((counts >= 20) & (counts <= 100)),
        "few": np.flatnonzero(counts < 20),
    }


def evaluate_predictions(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    labelled_counts: NDArray[np.integer] | Sequence[int],
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Judge class probabilities against the truth.

    A class without a test row has no recall. It is left out of every mean over classes and named under
    ``absent_classes``. A figure that no row supports is None.

    Args:
        probabilities: (N, C), rows sum to 1. N may be 0: then every figure is None.
        labels: int (N,), 0 to C - 1.
        labelled_counts: (C,) labelled training images of each class, which define the groups.
        class_names: C names.

    Returns:
        JSON-able: `SCALARS` (accuracies as fractions of 1; ``ece`` as `calibration_error`; ``nll`` the mean of -ln p of
        the true class), ``test_rows``, ``absent_classes`` (names) and ``per_class`` (``name``, ``labelled``,
        ``test_rows``, ``recall``).
    """
    n_classes = len(class_names)
    labels = np.asarray(labels, dtype=np.int64)
    predicted = probabilities.argmax(axis=1) if len(labels) else np.empty(0, dtype=np.int64)
    totals = np.bincount(labels, minlength=n_classes)
    hits = np.bincount(labels[predicted == labels], minlength=n_classes)
    recalls = np.divide(hits, totals, out=np.full(n_classes, np.nan), where=totals > 0)

    def mean_recall(classes: NDArray[np.int64]) -> float | None:
        known = recalls[classes][totals[classes] > 0]
        return float(known.mean()) if len(known) else None

    groups = class_groups(labelled_counts)
    return {
        "accuracy": float((predicted == labels).mean()) if len(labels) else None,
        "macro_accuracy": mean_recall(np.arange(n_classes)),
        **{f"{name}_accuracy": mean_recall(classes) for name, classes in groups.items()},
        "ece": calibration_error(probabilities, labels) if len(labels) else None,
        "nll": _negative_log_likelihood(probabilities, labels) if len(labels) else None,
        "test_rows": len(labels),
        "absent_classes": [class_names[int(k)] for k in np.flatnonzero(totals == 0)],
        "per_class": [
            {
                "name": name,
                "labelled": int(labelled_counts[k]),
                "test_rows": int(totals[k]),
                "recall": float(recalls[k]) if totals[k] else None,
            }
            for k, name in enumerate(class_names)
        ],
    }


def calibration_error(probabilities: NDArray[np.floating], labels: NDArray[np.integer], n_bins: int = N_BINS) -> float:
    """Expected calibration error of the top-1 confidence.

    Confidences fall into `n_bins` bins of equal width, each open below and closed above; the error is the mean over
    rows of |accuracy - mean confidence| of the row's bin (Guo et al., 2017, equation 3).

    Args:
        probabilities: (N, C), N > 0.
        labels: (N,) true classes.
        n_bins: Number of bins over 0 to 1.

    Returns:
        Between 0 and 1.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    bins = np.clip(np.ceil(confidence * n_bins).astype(np.int64) - 1, 0, n_bins - 1)
    # n_b / N * |accuracy_b - confidence_b| = |sum of correct - sum of confidence| / N: no division by empty bins.
    gaps = np.bincount(bins, weights=correct - confidence, minlength=n_bins)
    return float(np.abs(gaps).sum() / len(labels))


def _negative_log_likelihood(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    # Probabilities are float32: a zero means "below what it resolves", as scikit-learn's log_loss takes it too.
    return float(-np.log(np.maximum(true, np.finfo(np.float32).eps)).mean())
