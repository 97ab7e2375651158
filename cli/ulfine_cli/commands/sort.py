"""What `ulfine sort` shows."""

from typing import Any

from ulfine_cache.wording.counts import amount
from ulfine_cli.output import Output, text
from ulfine_cli.tables.thresholds import from_where


def show(figures: dict[str, Any], output: Output) -> None:
    """Print how many images each class got, or how many were put back."""
    if figures["how"] is None:
        output.line(f"{amount(figures['undone'], 'image')} put back")
        return
    classes = sorted(figures["classes"].items(), key=lambda item: -item[1])
    rows = [*([name, str(count)] for name, count in classes), ["(doubtful)", str(figures["doubtful_images"])]]
    output.table(["class", "images"], rows)
    if "class_thresholds" in figures:
        output.text(f"the others are accepted {from_where({**figures, 'threshold': figures['doubtful']})}")
    else:
        output.text(f"doubtful below a confidence of {text(figures['doubtful'])}")
    output.line(f"table written to {figures['table']}; `ulfine sort --undo {figures['out']}` puts everything back")


def failures(figures: dict[str, Any]) -> list[str]:
    """Name what could not be read or put back."""
    return [*(f"{item['path']}: {item['reason']}" for item in figures["unreadable"]), *figures["kept"]]
