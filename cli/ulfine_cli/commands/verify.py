"""What `ulfine verify` shows."""

from typing import Any

from ulfine_cli.output import Output

_COUNTED = ("foreign", "repaired", "damaged", "stale")


def show(figures: dict[str, Any], output: Output) -> None:
    """Print what was repaired, what was read, and that it is whole if it is."""
    for item in figures["repaired"]:
        output.line(f"{item['path']}: {item['how']}")
    counts = {name: len(figures[name]) for name in _COUNTED if figures.get(name) is not None}
    output.pairs({**figures, **counts})


def damaged(figures: dict[str, Any]) -> list[str]:
    """Name each damaged thing, and each image that is not what was encoded."""
    return [f"{item['path']}: {item['reason']}" for item in (*figures["damaged"], *(figures["stale"] or ()))]
