"""`ulfine split`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print how many rows each class gave, the most frequent class first."""
    counts = zip(
        figures["ranks"],
        figures["class_names"],
        figures["labelled_counts"],
        figures["unlabelled_counts"],
        figures["test_counts"],
        strict=True,
    )
    rows = [[str(cell) for cell in row] for _, *row in sorted(counts)]
    rows.append(["all", *(str(figures[part]) for part in ("labelled", "unlabelled", "test"))])
    output.table(["class", "labelled", "unlabelled", "test"], rows)
    output.line(f"written to {figures['path']}")


@command(
    "ulfine_cache.splits:make_split",
    example="ulfine split cache --name tail --labelled-max 50 --imbalance 10 --unlabelled reversed",
    show=show,
)
def split(
    *,
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Directory of the cache.")],
    name: Annotated[str, typer.Option(help="Name of the split.")],
    labelled_max: Annotated[int, typer.Option(help="Labelled images of the most frequent class.")],
    imbalance: Annotated[float, typer.Option(help="Labelled images of the first class over those of the last.")],
    unlabelled_max: Annotated[
        int | None, typer.Option(help="Unlabelled images of the most frequent class; by default as many as there are.")
    ] = None,
    unlabelled_imbalance: Annotated[
        float | None, typer.Option(help="Imbalance of the unlabelled images; by default that of the labelled ones.")
    ] = None,
    unlabelled: Annotated[
        Literal["consistent", "uniform", "reversed", "middle", "head-tail"],
        typer.Option(help="How the classes are distributed among the unlabelled images."),
    ] = "consistent",
    test_per_class: Annotated[
        int | None, typer.Option(help="Images of every class held out for the test, if the cache has no test set.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which class is rare and which images are drawn.")] = 0,
) -> None:
    """Draw a long-tailed split of a cache.

    That is a labelled set, an unlabelled one of a chosen shape and a balanced test set, all disjoint.
    """
