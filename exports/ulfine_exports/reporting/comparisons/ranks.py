"""Mean ranks of methods and how far apart they have to be: the numbers of a critical-difference picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ulfine_exports.reporting.comparisons.comparison import Comparison

LEVEL = 0.05


@dataclass(frozen=True)
class Ranks:
    """Methods by their mean rank in macro accuracy; 1 is the best.

    Attributes:
        names: Methods, the best first.
        means: Their mean ranks; equal values share the mean of their ranks.
        distance: Mean ranks closer than this are not told apart (Nemenyi's test at 5 %).
        blocks: Draws of all splits, each of which ranks the methods once.
    """

    names: list[str]
    means: list[float]
    distance: float
    blocks: int

    def groups(self) -> list[tuple[int, int]]:
        """First and last place of the largest groups of methods that are not told apart.

        Example:
            >>> Ranks(["a", "b", "c"], [1.0, 1.5, 3.0], 0.6, 9).groups()
            [(0, 1)]
        """
        found: list[tuple[int, int]] = []
        for first, mean in enumerate(self.means):
            last = max(place for place, other in enumerate(self.means) if other - mean < self.distance)
            if last > first and not any(before[1] >= last for before in found):
                found.append((first, last))
        return found


def mean_ranks(comparisons: Iterable[Comparison]) -> Ranks | None:
    """Rank the methods that all comparisons have, draw by draw.

    Source: Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, 2006; there each block is a data set
    of its own. Draws of one split share images, so that the distance answers for these images only.

    Args:
        comparisons: At least one.

    Returns:
        None for fewer than two methods or blocks.
    """
    from scipy.stats import rankdata, studentized_range

    tables = [
        {method.method: method.macro_accuracy.per_seed for method in comparison.methods} for comparison in comparisons
    ]
    names = [name for name in tables[0] if all(name in table for table in tables)]
    values = np.array(
        [
            [np.nan if value is None else value for value in of_draw]
            for table in tables
            for of_draw in zip(*(table[name] for name in names), strict=True)
        ],
        dtype=float,
    ).reshape(-1, len(names))
    values = values[~np.isnan(values).any(1)]
    blocks, many = values.shape
    if many < 2 or blocks < 2:
        return None
    # Accuracies that differ in their last bits are equal.
    means = rankdata(-values.round(9), axis=1).mean(0)
    quantile = studentized_range.ppf(1 - LEVEL, many, np.inf) / np.sqrt(2)
    order = np.argsort(means, kind="stable")
    distance = float(quantile * np.sqrt(many * (many + 1) / (6 * blocks)))
    return Ranks([names[place] for place in order], means[order].tolist(), distance, blocks)
