"""What `ulfine compare` shows."""

from typing import Any

from ulfine_cache.wording.counts import amount
from ulfine_cli.metrics_table import ACCURACIES, mean_and_spread
from ulfine_cli.output import Output, percent


def show(figures: dict[str, Any], output: Output) -> None:
    """Print one table for each split, and which files were written; or the table for a paper alone."""
    if "printed" in figures:
        for line in figures["printed"].splitlines():
            output.line(line)
        return
    tasks = figures.get("tasks")
    for place, comparison in enumerate(tasks.values() if tasks else [figures]):
        if place:
            output.line()
        _show_comparison(comparison, output)
    for name in figures.get("tables", ()):
        output.line(f"table written to {name}")


def _show_comparison(figures: dict[str, Any], output: Output) -> None:
    """Print one row for each method: mean and spread over the seeds, and the paired difference to the first."""
    methods = figures["methods"]
    rows = [[method["method"], *(mean_and_spread(method[name], "std") for name in ACCURACIES)] for method in methods]
    differences = ["", *(mean_and_spread(method["difference"], "stderr") for method in methods[1:])]
    rows = [[*row, difference] for row, difference in zip(rows, differences, strict=True)]
    columns = [name.removesuffix("_accuracy") for name in ACCURACIES]
    output.table(["method", *columns, f"macro - {methods[0]['method']}"], rows)
    output.text(
        f"percent over {amount(len(figures['seeds']), 'draw')} of {figures['split']}: mean ± standard deviation; "
        "paired difference ± standard error"
    )
    _show_pseudo_labels(methods, output)


def _show_pseudo_labels(methods: list[dict[str, Any]], output: Output) -> None:
    """Print how many pseudo-labels of unlabelled rows are false, and how confident the false ones are."""
    known = [method for method in methods if method["pseudo_labels"] is not None]
    if not known:
        return
    groups = ("head", "medium", "tail")
    columns = [f"{what} {group}" for what in ("false", "confidence") for group in groups]
    rows = [
        [
            method["method"],
            *(percent(method["pseudo_labels"][group]["false"]["mean"]) for group in groups),
            *(percent(method["pseudo_labels"][group]["false_confidence"]["mean"]) for group in groups),
        ]
        for method in known
    ]
    output.table(["method", *columns], rows)
    output.text("pseudo-labels of the fitted models: percent that are false, and the mean confidence of the false ones")
