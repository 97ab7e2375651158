"""The table of the classes: what each one's recall and precision are, and what it is taken for."""

from typing import Any

from ulfine_cache.wording.counts import amount
from ulfine_cli.output import Output, percent

MOST_CLASSES = 20
"""Lines of the table."""


def show_classes(figures: dict[str, Any], output: Output) -> None:
    """Print the classes that are told worst: on test rows, or without them on left-out rows.

    Args:
        figures: Metrics under the names of ``metrics.json``, with ``run`` where a run was written.
        output: Where to.
    """
    tested = bool(figures.get("test_rows"))
    entries = figures.get("per_class") if tested else (figures.get("cross_validated") or {}).get("per_class")
    if not entries or "low" not in entries[0]:
        return
    ranked = sorted(entries, key=lambda entry: (entry["recall"] is None, entry["recall"], entry["labelled"]))
    rows = [
        [
            entry["name"],
            str(entry["labelled"]),
            percent(entry["recall"]),
            "-" if entry["low"] is None else f"{percent(entry['low'])} to {percent(entry['high'])}",
            percent(entry["precision"]),
            _said(entry, tested=tested),
        ]
        for entry in ranked[:MOST_CLASSES]
    ]
    output.line()
    output.table(["class", "labelled", "recall", "95 % interval", "precision", "most taken for"], rows)
    where = f"on {amount(figures['test_rows'], 'test image')}" if tested else "cross-validated"
    shown = (
        f"the {MOST_CLASSES} worst of {amount(len(entries), 'class')}" if len(entries) > MOST_CLASSES else "worst first"
    )
    # `ulfine evaluate` leaves the run as it is.
    everywhere = f"{figures['run']}/per_class.csv" if "cross_validated" in figures else "--json FILE"
    output.text(f"percent {where}, {shown}; all in {everywhere}")


def show_groups(figures: dict[str, Any], output: Output) -> None:
    """Print the accuracy of each group of test rows, where that was asked for.

    Args:
        figures: Of `ulfine_fast.evaluate`.
        output: Where to.
    """
    if not figures.get("by_group"):
        return
    rows = [
        [
            entry["group"] or "(none)",
            str(entry["rows"]),
            percent(entry["accuracy"]),
            f"{percent(entry['low'])} to {percent(entry['high'])}",
        ]
        for entry in sorted(figures["per_group"], key=lambda entry: (entry["accuracy"], entry["group"]))
    ]
    output.line()
    output.table(["group", "test images", "accuracy", "95 % interval"], rows)


def _said(entry: dict[str, Any], *, tested: bool) -> str:
    if entry["recall"] is None:
        count = 0 if tested else entry["labelled"]
        if count > 1:
            return "(all in one group, or none left out)"
        return f"(cannot be judged from {amount(count, 'test image' if tested else 'image')})"
    return entry["confused_with"] or ""
