"""What `ulfine export` shows."""

from typing import Any

from ulfine_cli.output import Output, percent, text
from ulfine_cli.tables.prior_line import show_test_prior

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
