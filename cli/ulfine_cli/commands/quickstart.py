"""What `ulfine quickstart` shows."""

from typing import Any

from ulfine_cache.wording.counts import amount
from ulfine_cli.metrics_table import ACCURACIES
from ulfine_cli.output import Output, percent


def show(figures: dict[str, Any], output: Output) -> None:
    """Print the accuracies side by side, the check of the export, one prediction, and where things are."""
    split, example, files = (figures[part] for part in ("split", "example", "files"))
    parity = figures["export"]["parity"]
    rows = [[method["method"], *(percent(method[name]) for name in ACCURACIES)] for method in figures["methods"]]
    counts = split["labelled_counts"]
    output.line(
        f"{amount(split['labelled'], 'labelled image')} (from {max(counts)} down to {min(counts)} a class), "
        f"{split['unlabelled']} unlabelled, {split['test']} to test; accuracy in percent:"
    )
    output.table(["method", *(name.removesuffix("_accuracy") for name in ACCURACIES)], rows)
    output.line(
        f"onnxruntime and torch agree on {amount(parity['rows'], 'image')}: "
        f"largest difference in probability {parity['largest_difference']:.1e}"
    )
    output.line(
        f"{example['path']} is {example['truth']!r}; onnxruntime says {example['label']!r} "
        f"with {percent(example['confidence'])} %"
    )
    output.pairs({**files, "seconds": figures["seconds"]})
