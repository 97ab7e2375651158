"""What `ulfine info` shows."""

from typing import Any

from ulfine_cli.output import Output

_COUNTS = ("labelled", "val", "test")


def show(figures: dict[str, Any], output: Output) -> None:
    """Print the classes as a table, all of them, then name by name what else is there."""
    rest = dict(figures)
    names, counts = figures.get("class_names", []), figures.get("labelled_counts", [])
    if classes := rest.pop("per_class", []):
        output.table(
            ["class", *_COUNTS], [[entry["name"], *(str(entry[part]) for part in _COUNTS)] for entry in classes]
        )
        output.line()
    elif names and len(names) == len(counts):
        del rest["class_names"], rest["labelled_counts"]
        output.table(["class", "labelled"], [[name, str(count)] for name, count in zip(names, counts, strict=True)])
        output.line()
    output.pairs(rest)
