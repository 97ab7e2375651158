"""`ulfine fit`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.command import command
from ulfine_cli.metrics_table import show_metrics
from ulfine_cli.output import Output
from ulfine_fast.judging.five_crops import Views
from ulfine_fast.registry import METHODS


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


@command(
    "ulfine_fast.fitting:fit",
    example="ulfine fit cache --out run --split tail --method ulfine --seed 0",
    show=show,
    failures=failures,
)
def fit(
    *,
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Directory of the cache.")],
    out: Annotated[Path, typer.Option(help="Directory of the run.")],
    split: Annotated[str | None, typer.Option(help="Named split; without it the cache's own labels and sets.")] = None,
    method: Annotated[str, typer.Option(help=f"The method: {', '.join(METHODS)}.")] = "ulfine",
    config: Annotated[Path | None, typer.Option(help="YAML file with values for the method.")] = None,
    set: Annotated[list[str], typer.Option(help="One value for the method, as key=value; may be repeated.")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same bytes on the same machine.")] = 0,
    seeds: Annotated[int, typer.Option(help="Seeds to fit at once, for the spread; the run is the first.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1.")] = "auto",
    views: Annotated[
        Views,
        typer.Option(
            help="What is looked at in an image: center; five-crop, the mean of the logits of five crops; auto, five "
            "crops where the cache has them."
        ),
    ] = "auto",
    text_only_classes: Annotated[
        bool, typer.Option("--text-only-classes", help="Accept classes without labelled images, for their text alone.")
    ] = False,
    memory: Annotated[
        str,
        typer.Option(
            help="Bound on the resident memory, such as 4GB; unlabelled rows that would break it are read from the "
            "disk block by block. auto: half of what is free."
        ),
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that stands at --out.")] = False,
) -> None:
    """Train a classifier on cached features.

    The run that is written holds the model, its configuration, its metrics on the test set and its predictions.
    """
