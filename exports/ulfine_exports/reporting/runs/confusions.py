"""Which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_exports.reporting.runs.judged_rows import JudgedRows


@dataclass(frozen=True)
class Confusion:
    """Rows of one class that were taken for another.

    Attributes:
        truth: The class that they are of.
        predicted: The class that they were taken for.
        count: How many.
        of: How many rows of the class there are.
        places: Their places among the judged rows, the most confident first.
    """

    truth: int
    predicted: int
    count: int
    of: int
    places: NDArray[np.int64]


def confusions(judged: JudgedRows, n_classes: int, most: int) -> list[Confusion]:
    """Find the most frequent confusions.

    Args:
        judged: Rows whose truth is known.
        n_classes: C.
        most: How many pairs at most.

    Returns:
        The pairs, most rows first, equal ones by the larger share of their class.
    """
    totals = np.bincount(judged.truth, minlength=n_classes)
    truths, predictions, counts = _mistakes(judged, n_classes)
    ranked = np.lexsort((predictions, truths, -counts / totals[truths], -counts))[:most]
    found: list[Confusion] = []
    for truth, predicted, count in zip(
        truths[ranked].tolist(), predictions[ranked].tolist(), counts[ranked].tolist(), strict=True
    ):
        places = np.flatnonzero((judged.truth == truth) & (judged.predicted == predicted))
        places = places[np.argsort(-judged.confidence[places], kind="stable")]
        found.append(Confusion(truth, predicted, count, int(totals[truth]), places))
    return found


def taken_for(judged: JudgedRows, n_classes: int) -> list[int | None]:
    """The class that each class is most often taken for; None where it never is taken for another."""
    found: list[int | None] = [None] * n_classes
    truths, predictions, counts = _mistakes(judged, n_classes)
    # The most frequent one is written last, of equal ones the first class.
    for place in np.lexsort((-predictions, counts)).tolist():
        found[truths[place]] = int(predictions[place])
    return found


def _mistakes(judged: JudgedRows, n_classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """True class, predicted class and number of rows of every pair that occurs."""
    wrong = ~judged.right
    pairs, counts = np.unique(judged.truth[wrong] * n_classes + judged.predicted[wrong], return_counts=True)
    return pairs // n_classes, pairs % n_classes, counts
