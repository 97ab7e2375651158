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
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (judged.truth, judged.predicted), 1)
    totals = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    shares = counts / np.maximum(totals, 1)[:, None]
    ranked = np.lexsort((np.arange(counts.size), -shares.ravel(), -counts.ravel()))[:most]
    found: list[Confusion] = []
    for truth, predicted in zip(*np.unravel_index(ranked, counts.shape), strict=True):
        if counts[truth, predicted]:
            places = np.flatnonzero((judged.truth == truth) & (judged.predicted == predicted))
            places = places[np.argsort(-judged.confidence[places], kind="stable")]
            found.append(
                Confusion(int(truth), int(predicted), int(counts[truth, predicted]), int(totals[truth]), places)
            )
    return found


def taken_for(judged: JudgedRows, n_classes: int) -> list[int | None]:
    """The class that each class is most often taken for; None where it never is taken for another."""
    counts = np.zeros((n_classes, n_classes), np.int64)
    np.add.at(counts, (judged.truth, judged.predicted), 1)
    np.fill_diagonal(counts, 0)
    return [int(row.argmax()) if row.any() else None for row in counts]
