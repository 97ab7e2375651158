"""What `ulfine fit` shows."""

from typing import Any

from ulfine_cli.metrics_table import show_metrics
from ulfine_cli.output import Output
from ulfine_cli.tables.logged import not_logged, show_logged
from ulfine_fast.deciding.gates import failed_gates


def show(figures: dict[str, Any], output: Output) -> None:
    """Print the metrics on the test set and where the run is."""
    show_metrics(figures, output)
    output.line(f"written to {figures['run']}")
    show_logged(figures, output)


def failures(figures: dict[str, Any]) -> list[str]:
    """Say which gates do not hold, what is not logged or not learnt, and that the run is not a whole one."""
    gates = [*failed_gates(figures), *not_logged(figures)]
    if "acceptance" in figures and figures["acceptance"] is None:
        gates.append(
            "no threshold was learnt: this method leaves no labelled images out, or too few are labelled; take ulfine, "
            "or label more"
        )
    if "outlier_score" in figures and figures["outlier_score"] is None:
        gates.append(
            "no outlier score was learnt: this method leaves no labelled images out, or too few are labelled; take "
            "ulfine, or label more"
        )
    if "interrupted_at" not in figures:
        return gates
    return [
        *gates,
        f"interrupted at step, round or seed {figures['interrupted_at']} of the training: {figures['run']} holds the "
        "best till then; run the same command with --overwrite for a whole fit",
    ]
