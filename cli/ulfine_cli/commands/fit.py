"""`ulfine fit`."""

from pathlib import Path
from typing import Annotated

import typer

from ulfine_cli.command import command
from ulfine_cli.metrics_table import show_metrics


@command(
    "ulfine_fast.fit:fit",
    example="ulfine fit cache --out run --split tail --method ulfine --seed 0",
    show=show_metrics,
)
def fit(
    *,
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Directory of the cache.")],
    out: Annotated[Path, typer.Option(help="Directory of the run.")],
    split: Annotated[str | None, typer.Option(help="Named split; without it the cache's own labels and sets.")] = None,
    method: Annotated[str, typer.Option(help="The method; an unknown name prints the list.")] = "ulfine",
    config: Annotated[Path | None, typer.Option(help="YAML file with values for the method.")] = None,
    set: Annotated[list[str], typer.Option(help="One value for the method, as key=value; may be repeated.")] = [],  # noqa: B006
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same bytes on the same machine.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Train a classifier on cached features.

    The run that is written holds the model, its configuration, its metrics on the test set and its predictions.
    """
