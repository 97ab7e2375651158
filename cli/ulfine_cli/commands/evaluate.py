"""`ulfine evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from ulfine_cli.command import command
from ulfine_cli.metrics_table import show_metrics


@command("ulfine_fast.evaluate:evaluate", example="ulfine evaluate run --json metrics.json", show=show_metrics)
def evaluate(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of the run.")],
    cache: Annotated[Path | None, typer.Option(help="Another cache than the one the run was fitted on.")] = None,
    split: Annotated[str | None, typer.Option(help="Another split than the one the run was fitted on.")] = None,
) -> None:
    """Measure a run on a test set."""
