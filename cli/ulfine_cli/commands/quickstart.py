"""`ulfine quickstart`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print the results table and where things are."""
    output.pairs(figures)


@command("ulfine_exports.quickstart:quickstart", example="ulfine quickstart --out quickstart", show=show)
def quickstart(
    *,
    out: Annotated[
        Path, typer.Option(help="Directory for the photographs, the cache, the runs and the ONNX file.")
    ] = Path("quickstart"),
) -> None:
    """Go the whole way once, offline, on real handwriting.

    Writes scikit-learn's digits as images, caches them with builtin:tiny, draws a long-tailed split, fits three
    methods, prints their accuracies, exports the last one, and classifies one image with onnxruntime.
    """
