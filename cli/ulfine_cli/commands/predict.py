"""`ulfine predict`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.command import command
from ulfine_cli.output import Output, percent
from ulfine_cli.prior_line import show_test_prior

_ROWS_SHOWN = 20


def show(figures: dict[str, Any], output: Output) -> None:
    """Print path, label and confidence of the first predictions."""
    predictions = figures["predictions"]
    rows = [[item["path"], item["label"], percent(item["confidence"])] for item in predictions[:_ROWS_SHOWN]]
    if rows:
        output.table(["path", "label", "confidence"], rows)
    if len(predictions) > _ROWS_SHOWN:
        output.line(f"... and {len(predictions) - _ROWS_SHOWN} more")
    show_test_prior(figures, output)
    if figures["out"]:
        output.line(f"all probabilities written to {figures['out']}")


def unreadable(figures: dict[str, Any]) -> list[str]:
    """Name each input that could not be read."""
    return [f"{item['path']}: {item['reason']}" for item in figures["unreadable"]]


@command(
    "ulfine_exports.predict:predict",
    example="ulfine predict model.onnx photos/new --out predictions.csv",
    show=show,
    failures=unreadable,
)
def predict(
    *,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Directory of a run, or an exported .onnx file.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="Images, or folders of images.")],
    views: Annotated[
        str,
        typer.Option(
            help="What a run looks at: center; five-crop, the mean of the logits of five crops; auto, as it was fitted."
        ),
    ] = "auto",
    test_prior: Annotated[
        str | None,
        typer.Option(
            metavar="uniform|labelled|estimate|FILE",
            help="Class distribution to decide for: uniform; labelled, that of the labelled rows; estimate, from these "
            "inputs; or a CSV file of class,weight. Without it: as the model is.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write all probabilities to this .csv file, or .parquet with the extra parquet.")
    ] = None,
) -> None:
    """Classify images with a run or an exported file.

    An exported file is run by onnxruntime, without torch. Images that cannot be read are named, and the exit code is 1.
    """
