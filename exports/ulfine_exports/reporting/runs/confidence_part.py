"""The parts of a report about confidence: of the answers, and of the pseudo-labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ulfine_exports.reporting.runs.trust_figures import (
    coverage_curve,
    coverage_figure,
    pseudo_label_figure,
    reliability_figure,
)

if TYPE_CHECKING:
    from ulfine_exports.reporting.runs.run_facts import RunFacts

LEVELS = (0.99, 0.9, 0.7, 0.5)
"""Confidences for which the table says what is left and how much of it is right."""

SUREST = 0.8
"""The share of the surest answers that the caption tells about."""


def confidence_part(facts: RunFacts) -> dict[str, Any] | None:
    """Whether confidences tell the truth; None where no truth is known."""
    judged = facts.judged
    if judged is None or not len(judged.rows):
        return None
    confidence, right = judged.confidence, judged.right
    shares, accuracy = coverage_curve(confidence, right)
    surest = int(np.searchsorted(shares, SUREST))
    used = {level: confidence >= level for level in LEVELS}
    return {
        "reliability": reliability_figure(confidence, right),
        "coverage": coverage_figure(confidence, right),
        "rows": len(right),
        "confidence": float(confidence.mean(dtype=np.float64)),
        "accuracy": float(right.mean()),
        "surest": (float(shares[surest]), float(accuracy[surest])),
        "levels": [
            {"level": level, "rows": int(rows.sum()), "right": float(right[rows].mean()) if rows.any() else None}
            for level, rows in used.items()
        ],
    }


def pseudo_label_part(facts: RunFacts) -> dict[str, Any] | None:
    """How many pseudo-labels are right; None where the truth of no unlabelled row is known."""
    unlabelled = facts.unlabelled
    if unlabelled is None or not (unlabelled.truth >= 0).any():
        return None
    known = unlabelled.truth >= 0
    confidence, right = unlabelled.confidence[known], unlabelled.right[known]
    groups = {name: np.isin(unlabelled.predicted[known], found) for name, found in facts.groups().items()}
    quality = facts.run.metrics.get("pseudo_labels") or {}
    return {
        "figure": pseudo_label_figure(confidence, right, groups),
        "rows": int(known.sum()),
        "right": float(right.mean()),
        "threshold": quality.get("threshold"),
        "quality": [(name, quality[name]) for name in ("all", "head", "medium", "tail") if name in quality],
    }
