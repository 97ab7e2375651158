"""Figures of a comparison from the metrics of its fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ulfine_fast.bench.significance import holm, paired_permutation_test
from ulfine_fast.judging.metrics import SCALARS
from ulfine_fast.judging.spread import spread


def summary(name: str, per_seed: list[dict[str, Any]], first: list[float]) -> dict[str, Any]:
    """What is told of one contender.

    Args:
        name: The contender.
        per_seed: Metrics of its fits.
        first: Macro accuracies of the first contender on the same draws.
    """
    figures = {key: spread([entry[key] for entry in per_seed]) for key in (*SCALARS, "seconds")}
    differences = np.array([entry["macro_accuracy"] for entry in per_seed]) - np.array(first)
    n_seeds = len(differences)
    stderr = float(differences.std(ddof=1) / np.sqrt(n_seeds)) if n_seeds > 1 else None
    difference = {"mean": float(differences.mean()), "stderr": stderr}
    return {"method": name, **figures, "difference": difference, "pseudo_labels": _pseudo_labels(per_seed)}


def add_tests(methods: Sequence[dict[str, Any]]) -> None:
    """Test the difference of each method to the first in macro accuracy, with Holm's correction over the methods.

    Args:
        methods: Of `summary`; all but the first get ``test``: ``{"name", "p", "p_holm"}``, the first None.
    """
    first, *others = methods
    values = [
        paired_permutation_test(
            np.array(method["macro_accuracy"]["per_seed"]) - np.array(first["macro_accuracy"]["per_seed"])
        )
        for method in others
    ]
    first["test"] = None
    for method, p, corrected in zip(others, values, holm(values), strict=True):
        method["test"] = {"name": "paired permutation", "p": p, "p_holm": corrected}


def per_class(per_seed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The recall of each class over the seeds: ``[{"name", "labelled", "recall"}]``, the last two as spreads.

    Which class is frequent changes with the draw where the protocol says so, hence the spread of labelled rows.
    """
    of_classes = zip(*(entry["per_class"] for entry in per_seed), strict=True)
    return [
        {
            "name": entries[0]["name"],
            "labelled": spread([entry["labelled"] for entry in entries]),
            "recall": spread([entry["recall"] for entry in entries]),
        }
        for entries in of_classes
    ]


def _pseudo_labels(per_seed: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Spreads of the pseudo-labels' figures, for each group of classes."""
    qualities = [entry["pseudo_labels"] for entry in per_seed if entry["pseudo_labels"] is not None]
    if not qualities:
        return None
    names = ("used", "false_used", "false", "false_confidence")
    return {
        group: {name: spread([quality[group][name] for quality in qualities]) for name in names}
        for group in ("all", "head", "medium", "tail")
    }
