"""What can be said of each class: recall with its interval, precision, and what it is taken for. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_fast.judging.intervals import mean_recall_error, mean_recall_interval, share_interval
from ulfine_fast.judging.metrics import ACCURACIES, class_groups


def confusion_matrix(predicted: NDArray[np.integer], labels: NDArray[np.integer], n_classes: int) -> NDArray[np.int64]:
    """Count rows by their true class and by the one they are taken for.

    Args:
        predicted: int (N,).
        labels: int (N,).
        n_classes: C.

    Returns:
        int64 (C, C), ``[true, predicted]``.
    """
    places = np.asarray(labels, dtype=np.int64) * n_classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(places, minlength=n_classes**2).reshape(n_classes, n_classes)


def class_details(confusion: NDArray[np.int64], class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Interval of the recall, precision and most frequent mistake of each class.

    Args:
        confusion: int64 (C, C), as `confusion_matrix` counts.
        class_names: C names.

    Returns:
        For each class ``low`` and ``high`` (95 % interval of the recall), ``precision`` (right among the rows that are
        taken for the class, as frequent as classes are among these rows) and ``confused_with`` (the class that most of
        its other rows are taken for). None where no row says it.
    """
    totals, taken, hits = confusion.sum(1), confusion.sum(0), confusion.diagonal()
    mistakes = confusion - np.diag(hits)
    found = []
    for k in range(len(class_names)):
        interval = share_interval(hits[k] / totals[k], float(totals[k])) if totals[k] else {"low": None, "high": None}
        found.append(
            {
                "low": interval["low"],
                "high": interval["high"],
                # Of a class without rows an answer can only be wrong, which says nothing.
                "precision": float(hits[k] / taken[k]) if taken[k] and totals[k] else None,
                "confused_with": class_names[int(mistakes[k].argmax())] if mistakes[k].any() else None,
            }
        )
    return found


def group_figures(right: NDArray[np.bool_], groups: Sequence[str]) -> list[dict[str, Any]]:
    """Accuracy of the rows of each camera, site or batch.

    Args:
        right: bool (N,), whether a row was told right.
        groups: N names, "" where nothing is said.

    Returns:
        For each group, by name: ``group``, ``rows``, ``accuracy``, ``low`` and ``high`` of its 95 % interval.
    """
    names, places = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    totals, hits = np.bincount(places, minlength=len(names)), np.bincount(places[right], minlength=len(names))
    found = []
    for name, rows, of_group in zip(names.tolist(), totals.tolist(), hits.tolist(), strict=True):
        interval = share_interval(of_group / rows, rows)
        accuracy = {"accuracy": interval["value"], "low": interval["low"], "high": interval["high"]}
        found.append({"group": name, "rows": rows, **accuracy})
    return found


def accuracy_intervals(
    confusion: NDArray[np.int64],
    metrics: dict[str, Any],
    labelled_counts: NDArray[np.integer],
    *,
    alike: float = 1.0,
) -> dict[str, dict[str, float] | None]:
    """What the number of test rows leaves open of each accuracy.

    Args:
        confusion: int64 (C, C), of the test rows.
        metrics: Of the same rows, as in `ulfine_fast.judging.metrics.evaluate_predictions`.
        labelled_counts: int (C,), which define the groups of classes.
        alike: The `ulfine_fast.judging.intervals.design_effect` of the rows.

    Returns:
        For each of `ulfine_fast.judging.metrics.ACCURACIES` ``low`` and ``high`` of its 95 % interval and its standard
        ``error``; None where the accuracy is.
    """
    totals, hits = confusion.sum(1), confusion.diagonal()
    groups = {f"{name}_accuracy": classes for name, classes in class_groups(labelled_counts).items()}
    found: dict[str, dict[str, float] | None] = {}
    for name in ACCURACIES:
        value = metrics[name]
        if value is None:
            found[name] = None
            continue
        if name == "accuracy":
            # The rows are a sample of whatever they are: their classes' shares are uncertain, too.
            n = float(totals.sum()) / alike
            interval, mean = share_interval(value, n), (hits.sum() + 0.5) / (totals.sum() + 1)
            error = float(np.sqrt(mean * (1 - mean) / n))
        else:
            classes = groups.get(name, np.arange(len(totals)))
            interval = mean_recall_interval(value, hits[classes], totals[classes], alike=alike)
            error = mean_recall_error(hits[classes], totals[classes]) * alike**0.5
        found[name] = {"low": interval["low"], "high": interval["high"], "error": error}
    return found
