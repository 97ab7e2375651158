"""What `ulfine inspect` shows."""

from typing import Any

from ulfine_cli.output import Output

_ROWS_SHOWN = 15
_COLUMNS = {
    "duplicates": ("duplicate", "kind", "sets"),
    "label-errors": ("label",),
    "outliers": (),
    "next-to-label": (),
}


def show(figures: dict[str, Any], output: Output) -> None:
    """Print what was found in sentences, and the first findings."""
    for line in figures["lines"]:
        output.line(line)
    columns = _COLUMNS[figures["what"]]
    findings = figures["findings"][:_ROWS_SHOWN]
    if findings:
        rows = [
            [item["path"], *(str(item[name]) for name in columns), _score(item["score"]), item["suggestion"] or "-"]
            for item in findings
        ]
        output.table(["path", *columns, "score", "suggestion"], rows)
    if figures["found"] > len(findings):
        output.line(f"... and {figures['found'] - len(findings)} more")
    if figures["out"]:
        output.line(f"all of them written to {figures['out']}")
    if figures["gallery"]:
        output.line(f"pictures in {figures['gallery']}")


def _score(value: float) -> str:
    return "-" if value != value else f"{value:.4g}"
