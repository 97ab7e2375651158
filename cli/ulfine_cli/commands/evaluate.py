"""What `ulfine evaluate` shows."""

from typing import Any

from ulfine_cli.metrics_table import show_metrics
from ulfine_cli.output import Output
from ulfine_cli.tables.class_table import show_groups
from ulfine_cli.tables.prior_line import show_test_prior


def show(figures: dict[str, Any], output: Output) -> None:
    """Print the metrics, and the test prior where there is one."""
    show_metrics(figures, output)
    show_groups(figures, output)
    show_test_prior(figures, output)
