"""What `ulfine models` shows."""

from typing import Any

from ulfine_cache.wording.counts import amount, listed
from ulfine_cli.output import Output


def show(figures: dict[str, Any], output: Output) -> None:
    """Print a row for each model: its weights shortened to the first two."""
    rows = [
        [
            found["name"],
            "x".join(map(str, found["input"])) if found["input"] else "-",
            "-" if found["features"] is None else str(found["features"]),
            "yes" if found["text"] else "no",
            found["licence"],
            listed(list(found["weights"]), 2) if found["weights"] else "-",
        ]
        for found in figures["models"]
    ]
    output.table(["model", "input", "width", "text", "licence", "weights"], rows)
    output.text(f"{amount(len(rows), 'model')}; --json has every name of weights")
