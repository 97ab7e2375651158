"""95 % intervals of accuracies that respect small counts. numpy only.

A share of n rows has Wilson's interval (Wilson, Probable inference, the law of succession, and statistical inference,
JASA 22, 1927), which keeps within 0 and 1 and does not close when every row is right. A weighted mean of recalls, such
as macro accuracy, has the same interval at its effective number of rows: as many as would make a plain share as
uncertain. The variance of a class's recall is that of its rows with `IMAGINED` more of the mean recall of all classes:
two rows, both right, are no proof that a class is never missed.
"""

from __future__ import annotations

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


def smoothed_recalls(hits: NDArray[np.integer], totals: NDArray[np.integer]) -> NDArray[np.float64]:
    """Recalls with `IMAGINED` rows more of the mean recall of all rows, float64 (C,), between 0 and 1 exclusively.

    Args:
        hits: int (C,), right answers of each class.
        totals: int (C,), its rows; possibly 0.
    """
    mean = (hits.sum() + 0.5) / (totals.sum() + 1)
    return (hits + IMAGINED * mean) / (totals + IMAGINED)


def mean_recall_error(
    hits: NDArray[np.integer], totals: NDArray[np.integer], weights: NDArray[np.float64] | None = None
) -> float:
    """The standard error of a weighted mean of recalls.

    Args:
        hits: int (C,), right answers of each class.
        totals: int (C,), its rows. A class without rows is as uncertain as one with `IMAGINED` rows.
        weights: float64 (C,), of the classes, summing to 1; None: all that have rows the same.
    """
    recalls = smoothed_recalls(hits, totals)
    variances = recalls * (1 - recalls) / np.where(totals > 0, totals, IMAGINED)
    shares = (totals > 0) / max(1, int((totals > 0).sum())) if weights is None else weights
    return float(np.sqrt((shares**2 * variances).sum()))


def mean_recall_interval(
    value: float, hits: NDArray[np.integer], totals: NDArray[np.integer], weights: NDArray[np.float64] | None = None
) -> Interval:
    """The interval of a weighted mean of recalls; arguments as those of `mean_recall_error`.

    Args:
        value: The mean, 0 to 1.
        hits: int (C,).
        totals: int (C,).
        weights: float64 (C,) or None.

    Example:
        >>> found = mean_recall_interval(0.9, np.array([9, 9]), np.array([10, 10]))
        >>> {name: round(value, 2) for name, value in found.items()}
        {'value': 0.9, 'low': 0.71, 'high': 0.97}
    """
    error = mean_recall_error(hits, totals, weights)
    mean = (hits.sum() + 0.5) / (totals.sum() + 1)
    return share_interval(value, float(mean * (1 - mean) / error**2))
