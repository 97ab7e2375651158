"""How far to trust a fit without a test set: the figures of the labelled rows that it left out. numpy only.

A left-out row is judged by a problem that did not learn from it, so it had fewer images of its class to learn from:
figures are rather too low than too high, the more so the fewer images a class has. The weights that fuse and calibrate
the logits are chosen on these very rows; three numbers move the figures little (`docs/trust.md` has what
`benchmarks/trust.py` found). Nothing here can see what no labelled row shows: other places, cameras or seasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_fast.judging.class_figures import class_details, confusion_matrix
from ulfine_fast.judging.intervals import mean_recall_interval, share_interval, smoothed_recalls

THRESHOLDS = (0.99, 0.9, 0.5)
"""Confidences; the first is taken that enough left-out rows reach."""

ENOUGH_ROWS = 20


@dataclass(frozen=True)
class UnlabelledAnswers:
    """What the final model says of unlabelled rows.

    Attributes:
        confidence: float (M,), of a sample of them.
        n_rows: How many there are.
        prior: float64 (C,), the share of each class among them as the fit estimates it.
    """

    confidence: NDArray[np.floating]
    n_rows: int
    prior: NDArray[np.float64]


def cross_validated_figures(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    labelled_counts: NDArray[np.integer],
    class_names: Sequence[str],
    unlabelled: UnlabelledAnswers | None = None,
) -> dict[str, Any] | None:
    """Judge left-out rows.

    A class of one image cannot be judged, since nothing is left to learn from; its row has no say.

    Args:
        probabilities: float (M, C), of left-out rows, each row once.
        labels: int (M,).
        labelled_counts: int (C,), labelled images of each class.
        class_names: C names.
        unlabelled: The unlabelled rows that the fit learnt from, or None.

    Returns:
        JSON-able, None where no row can be judged. ``rows``; ``classes``, how many are judged; ``accuracy``, as classes
        are frequent among the labelled rows, and ``macro_accuracy``, over the judged classes: each ``value``, ``low``
        and ``high`` of the 95 % interval; ``mean_confidence``; ``confident``: a ``threshold``, the left-out ``rows`` at
        or above it and which share is right, with its interval; ``unlabelled`` (None without): ``rows``,
        ``mean_confidence``, ``confident_rows`` at or above the threshold, and ``expected_accuracy``, the recalls
        weighted by the estimated class prior, with its interval; ``per_class``: ``name``, ``labelled``, ``rows``,
        ``recall``, ``low``, ``high``, ``precision``, ``confused_with``, as in
        `ulfine_fast.judging.class_figures.class_details`.
    """
    n_classes = len(class_names)
    judged = labelled_counts[labels] > 1
    labels, probabilities = labels[judged], probabilities[judged]
    if not len(labels):
        return None
    confidence = probabilities.max(axis=1).astype(np.float64)
    confusion = confusion_matrix(probabilities.argmax(axis=1), labels, n_classes)
    totals, hits = confusion.sum(1), confusion.diagonal()
    known = totals > 0
    macro = float((hits[known] / totals[known]).mean())
    confident = _confident(confidence, probabilities.argmax(axis=1) == labels)
    details = zip(class_names, class_details(confusion, class_names), strict=True)
    return {
        "rows": len(labels),
        "classes": int(known.sum()),
        "accuracy": share_interval(float(hits.sum() / totals.sum()), float(totals.sum())),
        "macro_accuracy": mean_recall_interval(macro, hits, totals),
        "mean_confidence": float(confidence.mean()),
        "confident": confident,
        "unlabelled": None if unlabelled is None else _unlabelled(hits, totals, unlabelled, confident["threshold"]),
        "per_class": [
            {
                "name": name,
                "labelled": int(labelled_counts[k]),
                "rows": int(totals[k]),
                "recall": float(hits[k] / totals[k]) if totals[k] else None,
                **figures,
            }
            for k, (name, figures) in enumerate(details)
        ],
    }


def _confident(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    enough = [threshold for threshold in THRESHOLDS if (confidence >= threshold).sum() >= ENOUGH_ROWS]
    threshold = enough[0] if enough else THRESHOLDS[-1]
    above = right[confidence >= threshold]
    empty = {"value": None, "low": None, "high": None}
    return {
        "threshold": threshold,
        "rows": len(above),
        **(share_interval(float(above.mean()), float(len(above))) if len(above) else empty),
    }


def _unlabelled(
    hits: NDArray[np.integer], totals: NDArray[np.integer], answers: UnlabelledAnswers, threshold: float
) -> dict[str, Any]:
    prior = answers.prior / answers.prior.sum()
    expected = float(prior @ smoothed_recalls(hits, totals))
    confidence = answers.confidence.astype(np.float64)
    return {
        "rows": answers.n_rows,
        "mean_confidence": float(confidence.mean()),
        "confident_rows": round(answers.n_rows * float((confidence >= threshold).mean())),
        "expected_accuracy": mean_recall_interval(expected, hits, totals, prior),
    }
