"""How much better is one model than another on the same rows, and how sure is that? numpy only.

Of each row it is known whether either model is right. Within a class the difference of the recalls is the share of rows
that were won less that of rows that were lost, with the variance of a multinomial (McNemar, Note on the sampling error
of the difference between correlated proportions or percentages, Psychometrika 12, 1947). The shares behind the variance
are smoothed: one win and one loss are imagined in all (Bonett and Price, Adjusted Wald confidence interval for a
difference of binomial proportions based on paired data, J. Educational and Behavioral Statistics 37, 2012), and
`IMAGINED` rows of the mean shares in each class. A bootstrap knows neither: where a class has few rows it is too sure
of itself (`benchmarks/decide.py` compares the two).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ulfine_fast.judging.intervals import Z

IMAGINED = 2.0
"""Rows of the mean shares that each class is imagined to have besides its own."""


@dataclass(frozen=True)
class PairedDifference:
    """Two models on the same rows.

    Attributes:
        old: Accuracy of the old one, 0 to 1.
        new: Of the new one.
        low: Low end of the 95 % interval of new less old, -1 to 1.
        high: Its high end.
    """

    old: float
    new: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """New less old."""
        return self.new - self.old

    def figures(self) -> dict[str, float]:
        """All of it, JSON-able."""
        return {"old": self.old, "new": self.new, "difference": self.difference, "low": self.low, "high": self.high}


def paired_difference(
    old_right: NDArray[np.bool_], new_right: NDArray[np.bool_], strata: NDArray[np.integer]
) -> PairedDifference | None:
    """Compare two models: the mean over strata of their accuracies in each.

    Args:
        old_right: Bool (N,), whether the old model is right.
        new_right: Bool (N,), the new one.
        strata: int (N,), at least 0. The classes give macro accuracy; all the same gives accuracy.

    Returns:
        The comparison; None without rows.

    Example:
        >>> right, wrong = np.ones(100, bool), np.zeros(100, bool)
        >>> found = paired_difference(wrong, right, np.repeat([0, 1], 50))
        >>> found.difference, found.low > 0.9
        (1.0, True)
    """
    if not len(strata):
        return None
    places = np.asarray(strata, dtype=np.int64)
    totals = np.bincount(places)
    known = totals > 0

    def counted(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(places[mask], minlength=len(totals))[known].astype(np.float64)

    n, old, new = totals[known].astype(np.float64), counted(old_right), counted(new_right)
    won, lost = counted(new_right & ~old_right), counted(old_right & ~new_right)
    wins = (won + IMAGINED * (won.sum() + 1) / (n.sum() + 2)) / (n + IMAGINED)
    losses = (lost + IMAGINED * (lost.sum() + 1) / (n.sum() + 2)) / (n + IMAGINED)
    variances = (wins + losses - (wins - losses) ** 2) / n
    width = Z * float(np.sqrt(variances.sum())) / len(n)
    before, after = float((old / n).mean()), float((new / n).mean())
    middle = after - before
    return PairedDifference(before, after, max(-1.0, middle - width), min(1.0, middle + width))
