"""What `ulfine predict` shows."""

from typing import Any

from ulfine_cache.wording.counts import amount
from ulfine_cli.output import Output, percent, text
from ulfine_cli.tables.prior_line import show_test_prior
from ulfine_cli.tables.thresholds import from_where

_ROWS_SHOWN = 20


def show(figures: dict[str, Any], output: Output) -> None:
    """Print path, label and confidence of the first predictions, or how many are in a folder."""
    if "parts" in figures:
        _show_parts(figures, output)
        return
    predictions = figures["predictions"]
    marks = {True: ["yes"], False: ["no"], None: []}
    rows = [
        [item["path"], item["label"], percent(item["confidence"]), *marks[item.get("accepted")], *_score(item)]
        for item in predictions[:_ROWS_SHOWN]
    ]
    if rows:
        extra = [name for name in ("accepted", "outlier_score") if name in predictions[0]]
        output.table(["path", "label", "confidence", *(name.replace("_", " ") for name in extra)], rows)
    if len(predictions) > _ROWS_SHOWN:
        output.line(f"... and {len(predictions) - _ROWS_SHOWN} more")
    show_test_prior(figures, output)
    if "threshold" in figures:
        of = amount(len(predictions), "input")
        output.line(f"accepted: {figures['accepted']} of {of}, {from_where(figures)}")
    if "outliers" in figures:
        output.line(
            f"unlike every class: {figures['outliers']} of {amount(len(predictions), 'input')}, with an outlier score "
            "above 1"
        )
    if figures["out"]:
        unread = len(figures["unreadable"])
        of = f"all probabilities of {amount(len(predictions), 'input')}" if unread else "all probabilities"
        output.line(f"{of} written to {figures['out']}")


def _score(item: dict[str, Any]) -> list[str]:
    return [f"{item['outlier_score']:.2f}"] if "outlier_score" in item else []


def unreadable(figures: dict[str, Any]) -> list[str]:
    """Name each input that could not be read."""
    return [f"{item['path']}: {item['reason']}" for item in figures.get("unreadable", [])]


def _show_parts(figures: dict[str, Any], output: Output) -> None:
    show_test_prior(figures, output)
    kept = f", {figures['parts_kept']} of them there before" if figures["parts_kept"] else ""
    output.line(
        f"all probabilities of {amount(figures['predicted'], 'image')} are in {figures['out']}, "
        f"{amount(figures['parts'], 'part')}{kept}; {text(figures['images_per_second'])} images a second"
    )
    if figures["skipped"]:
        output.line(f"{amount(figures['skipped'], 'image')} could not be read: see {figures['out']}/skipped.csv")
