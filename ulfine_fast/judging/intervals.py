"""95 % intervals of accuracies that respect small counts. numpy only.

A share of n rows has Wilson's interval (Wilson, Probable inference, the law of succession, and statistical inference,
JASA 22, 1927), which keeps within 0 and 1 and does not close when every row is right. A weighted mean of recalls, such
as macro accuracy, has the same interval at its effective number of rows: as many as would make a plain share as
uncertain. The variance of a row of a class is that of its recall, with `IMAGINED` rows more of the mean recall of all
rows, but no less than that of a row of any class: two rows, both right, are no proof that a class is never missed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Standard normal quantile of 0.975."""

IMAGINED = 2.0
"""Rows of the mean recall that each class is imagined to have besides its own."""

Interval = dict[str, float]
"""``value``, ``low`` and ``high``, fractions of 1."""


def share_interval(share: float, n: float) -> Interval:
    """Wilson's interval of a share.

    Args:
        share: 0 to 1.
        n: Rows, or an effective number of rows; more than 0.

    Example:
        >>> {name: round(value, 3) for name, value in share_interval(1.0, 2).items()}
        {'value': 1.0, 'low': 0.342, 'high': 1.0}
    """
    spread = Z * np.sqrt(max(share * (1 - share), 0.0) / n + Z**2 / (4 * n**2))
    middle, width = share + Z**2 / (2 * n), 1 + Z**2 / n
    low, high = max(0.0, (middle - spread) / width), min(1.0, (middle + spread) / width)
    # Rounding must not put the value a last bit outside.
    return {"value": share, "low": float(min(low, share)), "high": float(max(high, share))}


def smoothed_recalls(hits: NDArray[Any], totals: NDArray[np.integer]) -> NDArray[np.float64]:
    """Recalls with `IMAGINED` rows more of the mean recall of all rows, float64 (C,), between 0 and 1 exclusively.

    Args:
        hits: int or float (C,), right answers of each class.
        totals: int (C,), its rows; possibly 0.
    """
    return (hits + IMAGINED * _mean(hits, totals)) / (totals + IMAGINED)


def mean_recall_error(
    hits: NDArray[Any], totals: NDArray[np.integer], weights: NDArray[np.float64] | None = None
) -> float:
    """The standard error of a weighted mean of recalls.

    Args:
        hits: int or float (C,), right answers of each class.
        totals: int (C,), its rows. A class without rows is as uncertain as one with `IMAGINED` rows, and what is wrong
            with one such class is taken to be wrong with all of them.
        weights: float64 (C,), of the classes, summing to 1; None: all that have rows the same.
    """
    recalls = smoothed_recalls(hits, totals)
    mean = _mean(hits, totals)
    known = totals > 0
    variances = np.maximum(recalls * (1 - recalls), mean * (1 - mean)) / np.where(known, totals, IMAGINED)
    shares = known / max(1, int(known.sum())) if weights is None else weights
    together = float((shares[~known] * np.sqrt(variances[~known])).sum())
    return float(np.hypot(np.sqrt((shares[known] ** 2 * variances[known]).sum()), together))


def mean_recall_interval(
    value: float,
    hits: NDArray[Any],
    totals: NDArray[np.integer],
    weights: NDArray[np.float64] | None = None,
    *,
    alike: float = 1.0,
) -> Interval:
    """The interval of a weighted mean of recalls; arguments as those of `mean_recall_error`.

    Args:
        value: The mean, 0 to 1.
        hits: int (C,).
        totals: int (C,).
        weights: float64 (C,) or None.
        alike: The `design_effect` of the rows.

    Example:
        >>> found = mean_recall_interval(0.9, np.array([9, 9]), np.array([10, 10]))
        >>> {name: round(value, 2) for name, value in found.items()}
        {'value': 0.9, 'low': 0.7, 'high': 0.97}
    """
    error = mean_recall_error(hits, totals, weights)
    mean = _mean(hits, totals)
    return share_interval(value, float(mean * (1 - mean) / error**2) / alike)


def _mean(hits: NDArray[Any], totals: NDArray[np.integer]) -> float:
    """The mean recall of all rows, between 0 and 1 exclusively."""
    return float((hits.sum() + 0.5) / (totals.sum() + 1))


def design_effect(right: NDArray[np.bool_], groups: NDArray[np.integer] | None) -> float:
    """How many rows weigh as much as one would, were rows of a group not alike.

    The ratio of the variance of a share between groups and that of as many independent rows (Kish, Survey Sampling,
    1965), for Student's distribution of so many groups instead of the normal one.

    Args:
        right: bool (N,), whether a row was told right.
        groups: int (N,), rows of one number have a camera, a site or a batch in common; None where nothing is known.

    Returns:
        At least 1.

    Example:
        >>> round(design_effect(np.array([True] * 9 + [False] * 3), np.repeat([0, 1, 2, 3], 3)), 1)
        9.3
    """
    if groups is None or not len(right):
        return 1.0
    _, places = np.unique(groups, return_inverse=True)
    n_groups, share = int(places.max()) + 1, (right.sum() + 0.5) / (len(right) + 1)
    if n_groups < 2:
        return 1.0
    sums = np.bincount(places, weights=right - right.mean(), minlength=n_groups)
    variance = (sums**2).sum() * n_groups / (n_groups - 1)
    # The first terms of Student's quantile in the number of groups (Abramowitz and Stegun, 26.7.5).
    free = n_groups - 1
    quantile = Z + (Z**3 + Z) / (4 * free) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * free**2)
    return max(1.0, float(variance / (len(right) * share * (1 - share)))) * float(quantile / Z) ** 2
