"""`ulfine verify`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print what was read, and that it is whole if it is."""
    output.pairs({**figures, "damaged": len(figures["damaged"])})


def damaged(figures: dict[str, Any]) -> list[str]:
    """Name each damaged thing."""
    return [f"{item['path']}: {item['reason']}" for item in figures["damaged"]]


@command("ulfine_cache.verify:verify", example="ulfine verify cache", show=show, failures=damaged)
def verify(*, cache: Annotated[Path, typer.Argument(metavar="CACHE", help="Directory of the cache.")]) -> None:
    """Read a cache completely and check every checksum.

    Each damaged thing is named, and the exit code is 1.
    """
