"""`ulfine evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.command import command
from ulfine_cli.metrics_table import show_metrics
from ulfine_cli.output import Output
from ulfine_cli.prior_line import show_test_prior


def show(figures: dict[str, Any], output: Output) -> None:
    """Print the metrics, and the test prior where there is one."""
    show_metrics(figures, output)
    show_test_prior(figures, output)


@command("ulfine_fast.evaluate:evaluate", example="ulfine evaluate run --json metrics.json", show=show)
def evaluate(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of the run.")],
    cache: Annotated[Path | None, typer.Option(help="Another cache than the one the run was fitted on.")] = None,
    split: Annotated[str | None, typer.Option(help="Another split than the one the run was fitted on.")] = None,
    test_prior: Annotated[
        str | None,
        typer.Option(
            metavar="uniform|labelled|estimate|FILE",
            help="Class distribution to decide for: uniform; labelled, that of the labelled rows; estimate, from the "
            "test rows without their labels (transductive); or a CSV file of class,weight. Without it: as fitted.",
        ),
    ] = None,
) -> None:
    """Measure a run on a test set.

    Macro accuracy is best under a uniform test prior; others serve accuracy where classes are as frequent as they say.
    """
