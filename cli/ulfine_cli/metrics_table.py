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
    if spread := figures.get("seeds"):
        names = (*ACCURACIES, "ece")
        seeds = [str(len(spread["ece"]["per_seed"])), *(mean_and_spread(spread[name], "std") for name in names)]
        output.table(["seeds", *(name.removesuffix("_accuracy") for name in names)], [seeds])
        output.line("percent over seeds: mean ± standard deviation; below, the first seed, which is the run")
    names = ("accuracy", *ACCURACIES, "many_accuracy", "median_accuracy", "few_accuracy")
    shown = [
        (name.removesuffix("_accuracy"), percent(figures[name])) for name in names if figures.get(name) is not None
    ]
    shown += [(name, text(figures[name])) for name in ("ece", "nll", "seconds") if figures.get(name) is not None]
    output.table([name for name, _ in shown], [[value for _, value in shown]])


def mean_and_spread(summary: dict[str, Any], spread: str) -> str:
    """A mean over seeds in percent with its spread, such as ``"94.1 ± 0.3"``.

    Args:
        summary: Holds ``mean`` and the spread; None where they are not defined.
        spread: The spread's name.
    """
    mean = percent(summary["mean"])
    return mean if summary[spread] is None else f"{mean} ± {percent(summary[spread])}"
