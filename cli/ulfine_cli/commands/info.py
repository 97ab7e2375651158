"""`ulfine info`."""

from pathlib import Path
from typing import Annotated

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


@command("ulfine_exports.info:info", example="ulfine info cache", show=Output.show_pairs)
def info(
    *, target: Annotated[Path, typer.Argument(metavar="TARGET", help="A cache, a run or an exported .onnx file.")]
) -> None:
    """Say what a cache, a run or an exported file holds."""
