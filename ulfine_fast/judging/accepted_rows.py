"""What a threshold on the confidence is: which answers reach it, and how it is learnt. numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Thresholds = float | Sequence[float]
"""Least confidence of an accepted answer: one for all, or C, of which that of the class counts that is answered."""

NONE_ACCEPTED = 2.0
"""A threshold that no confidence reaches."""

IMAGINED = 4.0
"""Rows of mean weight and mean accuracy that are counted besides."""


def accepted_rows(probabilities: NDArray[np.floating], thresholds: Thresholds) -> NDArray[np.bool_]:
    """Which answers are accepted: the one rule for runs, exported files, servers and tables.

    Args:
        probabilities: float (N, C); N may be 0.
        thresholds: One for all, or C.

    Returns:
        bool (N,): whether the largest probability reaches the threshold, or that of its class.

    Example:
        >>> table = np.array([[0.8, 0.2], [0.3, 0.7]])
        >>> accepted_rows(table, 0.75).tolist(), accepted_rows(table, [0.9, 0.6]).tolist()
        ([True, False], [False, True])
    """
    if not len(probabilities):
        return np.zeros(0, bool)
    # As precise as the graph of an exported file, which must say the same.
    least = np.asarray(thresholds, probabilities.dtype)
    if least.ndim:
        least = least[probabilities.argmax(axis=1)]
    found: NDArray[Any] = probabilities.max(axis=1) >= least
    return found


def balanced_weights(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """Weights of rows, float64 (M,), mean 1, under which each class counts the same."""
    weights = 1.0 / np.bincount(labels)[labels]
    return weights / weights.mean()


def lowest_threshold(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], weights: NDArray[np.float64], target: float
) -> float:
    """The lowest threshold at which the estimated accuracy of all rows from it on reaches a target.

    Args:
        confidence: float (M,), M of at least 1.
        right: bool (M,).
        weights: float64 (M,), mean 1.
        target: 0 to 1.

    Returns:
        A confidence of the rows, 0 where all of them are accepted, `NONE_ACCEPTED` where none can be.

    Example:
        >>> lowest_threshold(np.array([0.9, 0.9, 0.6]), np.array([True, True, False]), np.ones(3), 0.7)
        0.9
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    sums, hits = np.cumsum(weights[order]), np.cumsum((weights * right)[order])
    # Rows of equal confidence are accepted together.
    ends = np.append(ranked[1:] != ranked[:-1], True)
    mean = hits[-1] / sums[-1]
    reached = np.flatnonzero(ends & ((hits + IMAGINED * mean) / (sums + IMAGINED) >= target))
    if not len(reached):
        return NONE_ACCEPTED
    last = int(reached[-1])
    return 0.0 if last == len(ranked) - 1 else float(ranked[last])
