"""`ulfine split`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print how many rows each class gave, the most frequent class first; or the presets."""
    if "presets" in figures:
        _show_presets(figures["presets"], output)
        return
    classes = figures["class_names"]
    counts = zip(
        figures["ranks"],
        classes,
        figures["labelled_counts"],
        figures["unlabelled_counts"] or ["unknown"] * len(classes),
        figures["test_counts"],
        strict=True,
    )
    rows = [[str(cell) for cell in row] for _, *row in sorted(counts)]
    rows.append(["all", *(str(figures[part]) for part in ("labelled", "unlabelled", "test"))])
    output.table(["class", "labelled", "unlabelled", "test"], rows)
    output.line(f"written to {figures['path']}")


def _show_presets(presets: list[dict[str, Any]], output: Output) -> None:
    columns = ("name", "data_set", "labelled", "unlabelled", "source")
    rows = [["of each class" if preset[name] is None else str(preset[name]) for name in columns] for preset in presets]
    rows = [[*row[:3], row[3].replace("of each class", "all"), row[4].split(" (")[0]] for row in rows]
    output.table(["preset", "data set", "labelled", "unlabelled", "after"], rows)


@command(
    "ulfine_cache.splits:make_split",
    example="ulfine split cache --name tail --labelled-max 50 --imbalance 10 --unlabelled reversed",
    show=show,
)
def split(
    *,
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Directory of the cache.")],
    name: Annotated[str | None, typer.Option(help="Name of the split; by default that of the preset.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="A published protocol, such as cifar100-lt-50-400-10 or stl10-lt-150-10; list shows them all. Only "
            "--name and --seed go with it."
        ),
    ] = None,
    labelled_max: Annotated[int | None, typer.Option(help="Labelled images of the most frequent class.")] = None,
    imbalance: Annotated[
        float | None, typer.Option(help="Labelled images of the first class over those of the last.")
    ] = None,
    labelled_fraction: Annotated[
        float | None,
        typer.Option(help="Instead of both: the share of every class that is labelled; the rest is unlabelled."),
    ] = None,
    unlabelled_max: Annotated[
        int | None, typer.Option(help="Unlabelled images of the most frequent class; by default as many as there are.")
    ] = None,
    unlabelled_imbalance: Annotated[
        float | None, typer.Option(help="Imbalance of the unlabelled images; by default that of the labelled ones.")
    ] = None,
    unlabelled: Annotated[
        Literal["consistent", "uniform", "reversed", "middle", "head-tail", "own"],
        typer.Option(
            help="How the classes are distributed among the unlabelled images; own: the images that came without label."
        ),
    ] = "consistent",
    ranks: Annotated[
        Literal["permutation", "class-index"],
        typer.Option(help="Which classes are frequent: random ones, or the first ones, as in published CIFAR code."),
    ] = "permutation",
    test_per_class: Annotated[
        int | None, typer.Option(help="Images of every class held out for the test, if the cache has no test set.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which class is rare and which images are drawn.")] = 0,
) -> None:
    """Draw a long-tailed split of a cache.

    That is a labelled set, an unlabelled one of a chosen shape and a balanced test set, all disjoint.
    """
