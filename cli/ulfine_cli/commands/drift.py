"""What `ulfine drift` shows."""

from typing import Any

from ulfine_cache.wording.counts import amount, listed
from ulfine_cli.output import Output, percent, text

_SHOWN = 5
_MEANINGS = {
    "features": "the pictures as a whole",
    "neighbours": "what lies next to what",
    "classes": "how frequent classes are",
}


def show(figures: dict[str, Any], output: Output) -> None:
    """Print the three tests, the classes that moved most, and what is strangest."""
    rows = [
        [f"{name}: {_MEANINGS[name]}", text(p), "changed" if name in figures["changed"] else "alike"]
        for name, p in figures["p_values"].items()
    ]
    title = f"{amount(figures['images'], 'image')} against {amount(figures['reference'], 'row')} of the fit"
    output.table(["test", "p", "says"], rows, title=title)
    output.line()
    classes = [
        [entry["name"], percent(entry["former"]), percent(entry["new"])] for entry in figures["classes"][:_SHOWN]
    ]
    output.table(["percent of the answers", "former", "new"], classes)
    if figures["changed_classes"]:
        output.text(f"beyond chance: {listed(figures['changed_classes'], 6)}")
    for group in figures["clusters"][:_SHOWN]:
        output.text(
            f"more of these than before, {percent(group['new'])} % instead of {percent(group['former'])} %: "
            f"{listed(group['paths'], 3)}"
        )
    output.text(f"{percent(figures['far'])} % are further off than usual; the furthest:")
    for item in figures["strangest"][:_SHOWN]:
        output.line(f"  {item['path']}")
    if figures["out"]:
        output.line(f"written to {figures['out']}")
    if not figures["alarm"]:
        output.text("the images look like those of the fit, as far as so many can tell")


def failures(figures: dict[str, Any]) -> list[str]:
    """Say that the images are not alike, and which could not be read."""
    alarm = [f"the images are not like those of the fit: {', '.join(figures['changed'])}"] if figures["alarm"] else []
    return [*(f"{item['path']}: {item['reason']}" for item in figures["unreadable"]), *alarm]
