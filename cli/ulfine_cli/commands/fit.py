"""What `ulfine fit` shows."""

from typing import Any

from ulfine_cli.metrics_table import show_metrics
from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print the metrics on the test set and where the run is."""
    show_metrics(figures, output)
    output.line(f"written to {figures['run']}")


def failures(figures: dict[str, Any]) -> list[str]:
    """Say that the run is not a whole one."""
    if "interrupted_at" not in figures:
        return []
    return [
        f"interrupted at step, round or seed {figures['interrupted_at']} of the training: {figures['run']} holds the "
        "best till then; run the same command with --overwrite for a whole fit"
    ]
