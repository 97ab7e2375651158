"""The part of a report about classes: how many images each has, and how many of them are recognised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ulfine_exports.reporting.runs.class_figures import MOST_NAMED, counts_figure, recall_figure
from ulfine_exports.reporting.runs.confusions import taken_for
from ulfine_exports.reporting.runs.judged_rows import PROBE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_exports.reporting.runs.run_facts import RunFacts


def class_part(facts: RunFacts) -> dict[str, Any]:
    """Figures and a row for each class, most labelled images first."""
    run, order = facts.run, facts.order
    n_classes = len(run.class_names)
    names = [run.class_names[k] for k in order]
    labelled = np.asarray(run.labelled_counts, np.int64)
    pseudo = expected = None
    if facts.unlabelled is not None:
        pseudo = np.bincount(facts.unlabelled.predicted, minlength=n_classes)
        expected = None if facts.prior is None else facts.prior * len(facts.unlabelled.rows)
    recalls, tested = _recalls(facts)
    groups = {int(k): name for name, found in facts.groups().items() for k in found}
    taken = [None] * n_classes if facts.judged is None else taken_for(facts.judged, n_classes)
    details = _details(facts)
    rows = [
        {
            "name": run.class_names[k],
            "group": groups[k],
            "labelled": int(labelled[k]),
            "pseudo": None if pseudo is None else int(pseudo[k]),
            "share": None if facts.prior is None else float(facts.prior[k]),
            "tested": int(tested[k]),
            "recalls": [float(values[k]) for values in recalls.values()],
            **{key: details.get(run.class_names[k], {}).get(key) for key in ("low", "high", "precision")},
            "taken": None if taken[k] is None else run.class_names[taken[k]],
        }
        for k in order.tolist()
    ]
    counts = counts_figure(
        names,
        labelled[order],
        None if pseudo is None else pseudo[order],
        None if expected is None else expected[order],
    )
    shown = {name: values[order] for name, values in recalls.items()}
    return {
        "counts": counts,
        "recall": recall_figure(names, shown) if tested.any() else None,
        "who": list(recalls),
        "rows": rows,
        "named": n_classes <= MOST_NAMED,
        "has_pseudo": pseudo is not None,
        "has_prior": facts.prior is not None,
        "has_details": any(row["high"] is not None for row in rows),
    }


def _details(facts: RunFacts) -> dict[str, dict[str, Any]]:
    """What the run's own metrics say of each class, by name: of the test rows, or else by cross-validation."""
    metrics = facts.run.metrics
    whose = (metrics.get("cross_validated") or {}) if facts.by_cross_validation else metrics
    return {entry["name"]: entry for entry in whose.get("per_class") or []}


def _recalls(facts: RunFacts) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """Recall of each class by who answers, the run itself last; and how many rows each class has."""
    run, judged = facts.run, facts.judged
    n_classes = len(run.class_names)
    if judged is None:
        found = _details(facts)
        entries = [found.get(name, {}) for name in run.class_names]
        recalls = [np.nan if entry.get("recall") is None else entry["recall"] for entry in entries]
        return {run.method: np.array(recalls, float)}, np.array([entry.get("test_rows") or 0 for entry in entries])
    tested = np.bincount(judged.truth, minlength=n_classes)

    def recall(predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        hits = np.bincount(judged.truth[predicted == judged.truth], minlength=n_classes)
        return np.divide(hits, tested, out=np.full(n_classes, np.nan), where=tested > 0)

    # Zero-shot is itself a method, which says what the text says.
    parts = {name: recall(said) for name, said in judged.parts.items() if name != run.method}
    own = f"{run.method} (fused)" if PROBE in parts else run.method
    return {**parts, own: recall(judged.predicted)}, tested
