"""`ulfine neighbours`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print one table for each query, the nearest image first."""
    for place, query in enumerate(figures["queries"]):
        if place:
            output.line()
        title = f"{query['query']} ({query['meaning']})"
        rows = [
            [item["path"], str(item["rank"]), f"{item['similarity']:.4f}", item["class"] or "-"]
            for item in query["neighbours"]
        ]
        output.table(["path", "rank", "similarity", "class"], rows, title=title)


@command("ulfine_cache.neighbours:neighbours", example='ulfine neighbours cache photos/new.jpg "a red car"', show=show)
def neighbours(
    *,
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Directory of the cache.")],
    queries: Annotated[
        list[str], typer.Argument(metavar="QUERY", help="Image files, words, or paths of the cache itself.")
    ],
    k: Annotated[int, typer.Option(help="Neighbours of each query.")] = 10,
    device: Annotated[str, typer.Option(help="Where the encoder runs: auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Show the images nearest to a picture or to words.

    A path of the cache needs no encoder. Put ./ before an image file whose path the cache has too.
    """
