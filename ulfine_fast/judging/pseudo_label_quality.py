"""How good the pseudo-labels of a fitted model are, where the truth is known. Judges a model; no method imports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_fast.judging.metrics import class_groups

THRESHOLD = 0.7
"""Confidence above which a pseudo-label counts as used, where the method has no threshold of its own."""


def pseudo_label_quality(
    predicted: NDArray[np.integer],
    confidence: NDArray[np.floating],
    truth: NDArray[np.integer],
    labelled_counts: NDArray[np.integer] | Sequence[int],
    threshold: float = THRESHOLD,
) -> dict[str, Any]:
    """Make the two failures that ULFine's paper names visible (Zhang et al., arXiv 2505.05062).

    The minority bottleneck shows as many false pseudo-labels on the tail, majority overconfidence as a high confidence
    of the false ones.

    Args:
        predicted: int (N,), the most probable class of each unlabelled row.
        confidence: float (N,), its probability.
        truth: int (N,), -1 where it is unknown; such rows are left out.
        labelled_counts: (C,) labelled training images, which define head, medium and tail.
        threshold: Confidence from which a pseudo-label counts as used.

    Returns:
        ``threshold``, and under ``all``, ``head``, ``medium`` and ``tail`` (by the row's true class): ``rows``;
        ``used``, the share of rows at or above the threshold; ``false_used``, the share of false ones among the used;
        ``false``, the share of false ones among all rows; ``false_confidence``, the mean confidence of all false ones.
        Shares without rows are None.

    Example:
        >>> quality = pseudo_label_quality(np.array([0, 0]), np.array([0.9, 0.8]), np.array([0, 1]), [5, 1])
        >>> quality["all"]["false"], round(quality["medium"]["false_confidence"], 2)
        (0.5, 0.8)
    """
    known = truth >= 0
    truth, predicted, confidence = truth[known], predicted[known], confidence[known].astype(np.float64)
    false = predicted != truth
    used = confidence >= threshold

    def figures(rows: NDArray[np.bool_]) -> dict[str, float | int | None]:
        return {
            "rows": int(rows.sum()),
            "used": _mean(used[rows]),
            "false_used": _mean(false[rows & used]),
            "false": _mean(false[rows]),
            "false_confidence": _mean(confidence[rows & false]),
        }

    groups = class_groups(labelled_counts)
    return {
        "threshold": threshold,
        "all": figures(np.ones(len(truth), dtype=bool)),
        **{name: figures(np.isin(truth, groups[name])) for name in ("head", "medium", "tail")},
    }


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None
