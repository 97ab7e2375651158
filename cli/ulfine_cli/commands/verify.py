"""`ulfine verify`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print what was repaired, what was read, and that it is whole if it is."""
    for item in figures["repaired"]:
        output.line(f"{item['path']}: {item['how']}")
    counts = {name: len(figures[name]) for name in ("foreign", "repaired", "damaged") if name in figures}
    output.pairs({**figures, **counts})


def damaged(figures: dict[str, Any]) -> list[str]:
    """Name each damaged thing."""
    return [f"{item['path']}: {item['reason']}" for item in figures["damaged"]]


@command("ulfine_cache.verify:verify", example="ulfine verify cache --repair", show=show, failures=damaged)
def verify(
    *,
    cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Directory of the cache.")],
    repair: Annotated[bool, typer.Option("--repair", help="Make damaged files anew where that is possible.")] = False,
) -> None:
    """Read a cache completely and check every checksum.

    Each damaged thing is named, and the exit code is 1. With --repair damaged shards are made again, alone, from the
    images, and replaced only by the same bytes.
    """
