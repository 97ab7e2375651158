"""A threshold for each class where left-out rows allow one. numpy only.

Those of the answers that name a class decide about answers that name it, by the rule that finds the threshold for all
(`ulfine_fast.judging.accepted_rows.lowest_threshold`). It takes n answers with n / (n + 1) of at least the target, as
in split conformal prediction (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005): of fewer,
even if all are right, nobody can say that the next one is right so often. A class with fewer keeps the threshold for
all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AcceptBy = Literal["all", "class"]
"""One threshold for all classes, or one for each where there are rows enough."""

FEWEST = 10
"""Answers that a threshold of its own takes, however low the target is."""


def answers_to_judge(target: float) -> int:
    """How many left-out answers must name a class, for a threshold of its own.

    Example:
        >>> answers_to_judge(0.95), answers_to_judge(0.99), answers_to_judge(0.5)
        (19, 99, 10)
    """
    # 0.95 / 0.05 is 18.999... or 19.000..., as floats like it.
    return max(FEWEST, math.ceil(round(target / (1 - target), 6)))


def learn_class_thresholds(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], target: float, common: float
) -> tuple[list[float], list[int]]:
    """Learn a threshold for each class from rows that the model did not learn from.

    Args:
        probabilities: float (M, C).
        labels: int (M,), of the same rows.
        target: Accuracy to reach, more than 0 and less than 1.
        common: The threshold for all, which classes with fewer than `answers_to_judge` answers keep.

    Returns:
        C thresholds, and how many rows each was judged from: those that are taken for the class.

    Example:
        >>> table = np.array([[0.9, 0.1]] * 30 + [[0.6, 0.4]] * 30 + [[0.2, 0.8]] * 3)
        >>> learn_class_thresholds(table, np.array([0] * 30 + [1] * 33), 0.9, 0.5)
        ([0.9, 0.5], [60, 3])
    """
    from ulfine_fast.judging.accepted_rows import balanced_weights, lowest_threshold

    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    weights = balanced_weights(labels)
    needed = answers_to_judge(target)
    thresholds: list[float] = []
    counts: list[int] = []
    for k in range(probabilities.shape[1]):
        mine = answers == k
        counts.append(int(mine.sum()))
        if counts[k] < needed:
            thresholds.append(common)
            continue
        own = weights[mine] / weights[mine].mean()
        thresholds.append(lowest_threshold(confidence[mine], labels[mine] == k, own, target))
    return thresholds, counts
