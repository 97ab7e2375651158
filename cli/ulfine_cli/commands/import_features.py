"""`ulfine import-features`."""

from pathlib import Path
from typing import Annotated

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


@command(
    "ulfine_cache.import_features:import_features",
    example="ulfine import-features features.npz --out cache",
    show=Output.show_pairs,
)
def import_features(
    *,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help=".npz with features, labels (-1: unlabelled); text_features, class_names, split, paths, views if "
            "known.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory of the cache.")],
    text_features: Annotated[
        str, typer.Option(help="Name of the array with the text prototypes, or none to use none.")
    ] = "text_features",
    index: Annotated[str, typer.Option(help="FAISS index: auto, none, or a factory string.")] = "auto",
) -> None:
    """Make a cache from features that were computed elsewhere."""
