"""The table of a classifier's accuracies, in percent."""

from typing import Any

from ulfine_cli.output import Output, percent, text

ACCURACIES = ("macro_accuracy", "head_accuracy", "medium_accuracy", "tail_accuracy")


def show_metrics(figures: dict[str, Any], output: Output) -> None:
    """Print the metrics of one classifier: accuracies in percent, ece and nll as they are.

    Args:
        figures: Metrics under the names of ``metrics.json``; names that are missing are left out.
        output: Where to.
    """
    names = ("accuracy", *ACCURACIES, "many_accuracy", "median_accuracy", "few_accuracy")
    shown = [
        (name.removesuffix("_accuracy"), percent(figures[name])) for name in names if figures.get(name) is not None
    ]
    shown += [(name, text(figures[name])) for name in ("ece", "nll", "seconds") if figures.get(name) is not None]
    output.table([name for name, _ in shown], [[value for _, value in shown]])
