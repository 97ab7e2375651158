"""`ulfine export`."""

from pathlib import Path
from typing import Annotated

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output


@command(
    "ulfine_exports.export:export_onnx",
    example="ulfine export run --onnx model.onnx --input pixels",
    show=Output.show_pairs,
)
def export(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of the run.")],
    onnx: Annotated[Path, typer.Option(help="The file to write.")],
    input: Annotated[
        str, typer.Option(help="What the file takes: features, or pixels with the encoder included.")
    ] = "features",
    precision: Annotated[str, typer.Option(help="fp32.")] = "fp32",
    opset: Annotated[int | None, typer.Option(help="ONNX operator set; without it a proven one.")] = None,
) -> None:
    """Write a run as one ONNX file, checked against torch.

    Nothing is written unless onnxruntime gives the same probabilities as torch on real rows.
    """
