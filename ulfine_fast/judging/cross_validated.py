"""How far to trust a fit without a test set: the figures of the labelled rows that it left out. numpy only.

A left-out row is judged by a problem that did not learn from it, so it had fewer images of its class to learn from:
figures are rather too low than too high, the more so the fewer images a class has. At the best errors shrink as the
images grow, to the share that the problem had of them; the high end of an interval is that of the figure under this
gain, and the low end that of the figure without. The weights that fuse and calibrate
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
from ulfine_fast.judging.intervals import (
    Interval,
    design_effect,
    mean_recall_interval,
    share_interval,
    smoothed_recalls,
)

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
    *,
    known: NDArray[np.floating] | None = None,
    groups: NDArray[np.integer] | None = None,
) -> dict[str, Any] | None:
    """Judge left-out rows.

    A class of one image cannot be judged, since nothing is left to learn from; its row has no say.

    Args:
        probabilities: float (M, C), of left-out rows, each row once.
        labels: int (M,).
        labelled_counts: int (C,), labelled images of each class.
        class_names: C names.
        unlabelled: The unlabelled rows that the fit learnt from, or None.
        known: float (M,), the share of its class that was learnt from when a row was judged; None: all of it.
        groups: int (M,), where rows were left out with all that have this number in common; else None.

    Returns:
        JSON-able, None where no row can be judged. ``rows``; ``by_group``, whether whole groups were left out;
        ``classes``, how many are judged; ``accuracy``, as classes are frequent among the labelled rows, and
        ``macro_accuracy``, over the judged classes: each ``value``, ``low`` and ``high`` of the 95 % interval;
        ``mean_confidence``; ``confident``: a ``threshold``, the left-out ``rows`` at or above it, and as ``value``
        which share is right, with its interval; ``unlabelled`` (None without): ``rows``, ``mean_confidence``,
        ``confident_rows`` at or above the threshold, and ``expected_accuracy``, the recalls weighted by the estimated
        class prior, with its interval; ``per_class``: ``name``, ``labelled``, ``rows``, ``recall``, ``low``, ``high``,
        ``precision``, ``confused_with``, as in `ulfine_fast.judging.class_figures.class_details`.
    """
    n_classes = len(class_names)
    judged = labelled_counts[labels] > 1
    labels, probabilities = labels[judged], probabilities[judged]
    if not len(labels):
        return None
    known_share = np.ones(len(labels)) if known is None else known[judged]
    confidence = probabilities.max(axis=1).astype(np.float64)
    confusion = confusion_matrix(probabilities.argmax(axis=1), labels, n_classes)
    totals, hits = confusion.sum(1), confusion.diagonal()
    seen = totals > 0
    recalls = np.divide(hits, totals, out=np.zeros(n_classes), where=seen)
    shares = np.bincount(labels, weights=known_share, minlength=n_classes) / np.maximum(totals, 1)
    best = np.where(seen, 1 - (1 - recalls) * shares, 0.0)
    best_hits = best * totals
    confident = _confident(confidence, probabilities.argmax(axis=1) == labels)
    details = class_details(confusion, class_names)
    for k in np.flatnonzero(seen):
        details[k]["high"] = share_interval(float(best[k]), float(totals[k]))["high"]
    right = probabilities.argmax(axis=1) == labels
    alike = design_effect(right, None if groups is None else groups[judged])
    accuracy = [share_interval(float(of.sum() / totals.sum()), totals.sum() / alike) for of in (hits, best_hits)]
    macro = [
        mean_recall_interval(float(of[seen].mean()), of_hits, totals, alike=alike)
        for of, of_hits in ((recalls, hits), (best, best_hits))
    ]
    return {
        "rows": len(labels),
        "by_group": groups is not None,
        "classes": int(seen.sum()),
        "accuracy": _with_high_end(*accuracy),
        "macro_accuracy": _with_high_end(*macro),
        "mean_confidence": float(confidence.mean()),
        "confident": confident,
        "unlabelled": None
        if unlabelled is None
        else _unlabelled((hits, best_hits), totals, unlabelled, confident["threshold"], alike),
        "per_class": [
            {
                "name": name,
                "labelled": int(labelled_counts[k]),
                "rows": int(totals[k]),
                "recall": float(hits[k] / totals[k]) if totals[k] else None,
                **figures,
            }
            for k, (name, figures) in enumerate(zip(class_names, details, strict=True))
        ],
    }


def _with_high_end(interval: Interval, best: Interval) -> Interval:
    return {**interval, "high": max(interval["high"], best["high"])}


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
    hits: Sequence[NDArray[Any]],
    totals: NDArray[np.integer],
    answers: UnlabelledAnswers,
    threshold: float,
    alike: float,
) -> dict[str, Any]:
    prior = answers.prior / answers.prior.sum()
    expected = [
        mean_recall_interval(float(prior @ smoothed_recalls(of, totals)), of, totals, prior, alike=alike) for of in hits
    ]
    confidence = answers.confidence.astype(np.float64)
    return {
        "rows": answers.n_rows,
        "mean_confidence": float(confidence.mean()),
        "confident_rows": round(answers.n_rows * float((confidence >= threshold).mean())),
        "expected_accuracy": _with_high_end(*expected),
    }
