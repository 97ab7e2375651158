"""`ulfine convert`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


@command(
    "ulfine_cache.convert:convert",
    example="ulfine convert cache --to npy --out arrays",
    show=Output.show_pairs,
)
def convert(
    *,
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Directory of the cache.")],
    to: Annotated[
        Literal["npy", "parquet", "clip-retrieval"],
        typer.Option(help="Arrays and JSON, one Parquet table, or what clip-retrieval and autofaiss read."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    view: Annotated[int, typer.Option(help="Which view of the images, counted from 0.")] = 0,
    pre_projection: Annotated[
        bool, typer.Option("--pre-projection", help="The features from before the encoder's projection.")
    ] = False,
) -> None:
    """Write a cache in the format of other tools."""
