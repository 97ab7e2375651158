"""What `ulfine diff` shows."""

from typing import Any

from ulfine_cache.wording.counts import amount, listed
from ulfine_cli.output import Output, percent, text

_NAMES = ("macro_accuracy", "accuracy", "tail_accuracy")
_CLASSES_SHOWN = 10


def show(figures: dict[str, Any], output: Output) -> None:
    """Print both comparisons, the classes that changed most, and what changed."""
    common, whole = figures["common"], figures["whole"]
    differ = figures["new_classes"] or figures["gone_classes"]
    _show_compared(common, "classes that both have" if differ else "all classes", output)
    if differ:
        output.line()
        _show_compared(whole, "all classes of either", output)
        if figures["new_classes"]:
            output.text(
                f"new: {listed(figures['new_classes'], 6)}; {amount(figures['taken_for_new'], 'row')} of the other "
                "classes taken for these now"
            )
        if figures["gone_classes"]:
            output.text(f"gone: {listed(figures['gone_classes'], 6)}")
    changed = [entry for entry in figures["per_class"] if entry["difference"]]
    changed.sort(key=lambda entry: -abs(entry["difference"]))
    if changed:
        output.line()
        rows = [
            [entry["name"], str(entry["rows"]), percent(entry["old"]), percent(entry["new"]), _points(entry)]
            for entry in changed[:_CLASSES_SHOWN]
        ]
        output.table(["class", "test rows", "old", "new", "points (95 % interval)"], rows)
        if len(changed) > _CLASSES_SHOWN:
            output.line(f"... and {amount(len(changed) - _CLASSES_SHOWN, 'more class')} that changed")
    flips, models = figures["flips"], figures["models"]
    output.line()
    output.text(
        f"answers that changed: {flips['won']} won, {flips['lost']} lost, {flips['both_wrong']} wrong in another way"
    )
    for side in ("old", "new"):
        output.text(f"{side}: {models[side]['bytes']} bytes, {text(models[side]['seconds'])} s for these rows")
    if figures["out"]:
        output.line(f"written to {figures['out']}")
    output.text(figures["verdict"])


def worse(figures: dict[str, Any]) -> list[str]:
    """Say that the new model is worse than allowed."""
    return [f"{figures['new']} is worse than {figures['old']}: {figures['verdict']}"] if figures["worse"] else []


def _show_compared(found: dict[str, Any], words: str, output: Output) -> None:
    title = f"{amount(found['rows'], 'test row')}, {words} ({found['classes']})"
    rows = [
        [name.removesuffix("_accuracy"), percent(found[name]["old"]), percent(found[name]["new"]), _points(found[name])]
        for name in _NAMES
        if found[name]
    ]
    rows += [[name, text(found[name]["old"]), text(found[name]["new"]), ""] for name in ("ece", "nll")]
    output.table(["percent", "old", "new", "points (95 % interval)"], rows, title=title)


def _points(entry: dict[str, Any]) -> str:
    return f"{100 * entry['difference']:+.1f} ({100 * entry['low']:+.1f} to {100 * entry['high']:+.1f})"
