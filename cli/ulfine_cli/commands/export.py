"""`ulfine export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output, percent, text
from ulfine_cli.prior_line import show_test_prior

_BELOW = ("comparison", "test_prior", "class_prior")


def show(figures: dict[str, Any], output: Output) -> None:
    """Print where the file is and how it was checked; for a lower precision, a row for each version that was tried."""
    output.pairs({name: value for name, value in figures.items() if name not in _BELOW})
    show_test_prior(figures, output)
    comparison = figures["comparison"]
    if comparison is None:
        return
    output.line()
    output.table(
        ["version", "accuracy", "macro", "ece", "MB", "rows/s", "largest", "mean difference"],
        [
            [
                f"{version['precision']} {version['variant']}".strip(),
                percent(version["accuracy"]),
                percent(version["macro_accuracy"]),
                text(version["ece"]),
                f"{version['bytes'] / 1e6:.3g}",
                f"{version['rows_per_second']:.1f}",
                f"{version['largest_difference']:.2g}",
                f"{version['mean_difference']:.2g}",
            ]
            for version in comparison["versions"]
        ],
    )
    chosen = f" {comparison['variant']} was chosen;" if comparison["variant"] else ""
    output.line(
        f"on {comparison['rows']} {comparison['source']};{chosen} macro accuracy falls by {comparison['drop']:.2f} "
        f"points, {comparison['max_drop']:g} are allowed"
    )


@command(
    "ulfine_exports.export:export_onnx",
    example="ulfine export run --onnx model.onnx --input pixels --precision int8",
    show=show,
)
def export(
    *,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of the run.")],
    onnx: Annotated[Path | None, typer.Option(help="The file to write.")] = None,
    input: Annotated[
        str,
        typer.Option(
            help="What the file takes: features; pixels with the encoder included; or image, uint8 of any size."
        ),
    ] = "features",
    precision: Annotated[
        str, typer.Option(help="fp32, fp16 (half the size) or int8 (a quarter, and faster on CPUs).")
    ] = "fp32",
    max_drop: Annotated[
        float, typer.Option(help="Points of macro accuracy that fp16 or int8 may cost on the test rows.")
    ] = 0.5,
    views: Annotated[
        str,
        typer.Option(
            help="center; for --input image also five-crop, the mean of the logits of five crops; auto, as the run "
            "was fitted."
        ),
    ] = "auto",
    test_prior: Annotated[
        str | None,
        typer.Option(
            metavar="uniform|labelled|estimate|FILE",
            help="Class distribution that the file decides for: uniform; labelled, that of the labelled rows; "
            "estimate, from the run's unlabelled rows; or a CSV file of class,weight. Without it: as fitted.",
        ),
    ] = None,
    opset: Annotated[int | None, typer.Option(help="ONNX operator set; without it a proven one.")] = None,
    triton: Annotated[
        Path | None, typer.Option(help="A Triton model repository to put the model into, with its configuration.")
    ] = None,
    to_hub: Annotated[
        Path | None,
        typer.Option(
            help="A folder to write in the Hugging Face Hub's layout, with a model card; nothing is uploaded."
        ),
    ] = None,
) -> None:
    """Write a run as one ONNX file, checked against torch.

    Nothing is written unless onnxruntime gives the same probabilities as torch on real rows. fp16 and int8 give others:
    what they cost is measured on the test rows and shown.
    """
