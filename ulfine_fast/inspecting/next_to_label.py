"""Which images to label next, so that the rare classes gain most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ulfine_fast.inspecting.nearest import Rows
from ulfine_fast.rows.sample_places import sample_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

CANDIDATES = 4000
"""Rows among which is chosen at most: those that classes need most."""
REFERENCES = 4000
"""Rows that are to be covered at most; of more a regular sample stands for all."""
SURE = 0.05
"""Added to the doubt, so that a row of a class in need counts even where the model is sure."""


@dataclass(frozen=True)
class NextToLabel:
    """Rows in the order in which to label them.

    Attributes:
        places: int64 (n,), places among the unlabelled rows.
        gains: float64 (n,), what each was worth when it was chosen, relative to the first: need times doubt times
            coverage.
        doubts: float64 (n,) in [0, 1], one less the confidence.
        classes: int64 (n,), the class that the model takes each for.
    """

    places: NDArray[np.int64]
    gains: NDArray[np.float64]
    doubts: NDArray[np.float64]
    classes: NDArray[np.int64]


def choose_next(
    probabilities: NDArray[np.floating], counts: NDArray[np.integer], rows: Rows, labelled: Rows, wanted: int
) -> NextToLabel:
    """Choose rows one after the other, so that a whole round of labels is good together.

    A row's gain is the product of three: *need*, `sum_k p_k / (n_k + 1)`, where the counts `n_k` grow by what is
    expected of the rows that are chosen already, so that rare classes come first and none is asked for without end;
    *doubt*, the root of `1 - max_k p_k`; and *coverage*, how much nearer it brings the unlabelled rows to a labelled or
    chosen one (squared cosines of centred features; a facility-location gain). The product is this project's decision
    (docs/inspect.md). The first two alone choose oddities, the third alone what is plentiful.

    Args:
        probabilities: (N, C), of the unlabelled rows under a uniform class prior.
        counts: (C,), labelled rows of each class.
        rows: float32 (N, D), the unlabelled rows, unit length.
        labelled: float32 (L, D), the labelled rows.
        wanted: n, at least 1; no more than there are rows are given.
    """
    import torch

    need = probabilities @ (1 / (counts + 1.0))
    doubt = np.sqrt(1 - probabilities.max(1) + SURE)
    candidates = np.sort(np.argsort(-need * doubt, kind="stable")[: max(CANDIDATES, wanted)])
    references = sample_places(len(rows), REFERENCES)
    covered_by = labelled[torch.as_tensor(sample_places(len(labelled), REFERENCES))].cpu().numpy()
    to_cover = rows[torch.as_tensor(references)].cpu().numpy()
    centre = to_cover.mean(0)
    to_cover = _directions(to_cover - centre)
    covered = _likeness(to_cover, _directions(covered_by - centre)).max(1)
    likeness = _likeness(to_cover, _directions(rows[torch.as_tensor(candidates)].cpu().numpy() - centre))
    chances, doubt = probabilities[candidates].astype(np.float64), doubt[candidates]
    expected = counts.astype(np.float64)
    free = np.ones(len(candidates), np.bool_)
    chosen: list[int] = []
    gains: list[float] = []
    for _ in range(min(wanted, len(candidates))):
        coverage = np.maximum(likeness - covered[:, None], 0).mean(0) + 1e-6
        gain = np.where(free, (chances @ (1 / (expected + 1))) * doubt * coverage, -1.0)
        best = int(gain.argmax())
        chosen.append(best)
        gains.append(float(gain[best]))
        free[best] = False
        expected += chances[best]
        covered = np.maximum(covered, likeness[:, best])
    places = candidates[np.array(chosen, np.int64)]
    return NextToLabel(
        places=places,
        gains=np.array(gains) / max(gains[0], 1e-300) if gains else np.zeros(0),
        doubts=1 - probabilities[places].max(1).astype(np.float64),
        classes=probabilities[places].argmax(1),
    )


def _directions(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)


def _likeness(rows: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared cosines, 0 where the cosine is negative, float32 (n, m)."""
    return np.square(np.maximum(rows @ others.T, 0))
