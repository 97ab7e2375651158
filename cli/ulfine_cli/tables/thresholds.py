"""The thresholds of the classes: from which confidence on an answer is accepted, and what few rows cannot say."""

from typing import Any

from ulfine_cache.wording.counts import amount, listed
from ulfine_cli.output import Output, percent, text

MOST_CLASSES = 20
"""Lines of the table."""

_MOST = 1.0
"""More than any confidence: nothing is accepted."""


def from_where(figures: dict[str, Any]) -> str:
    """From which confidence on answers are accepted, in words, of figures of ``predict``.

    Example:
        >>> from_where({"threshold": 0.5})
        'from a confidence of 0.5 on'
        >>> from_where({"threshold": 0.5, "class_thresholds": {"ash": 0.5, "elm": 0.75, "oak": 2.0}})
        "from a confidence of 0.5 to 0.75 on, by class; never as 'oak'"
    """
    by_class = figures.get("class_thresholds")
    if by_class is None:
        return f"from a confidence of {text(figures['threshold'])} on"
    reached = [value for value in by_class.values() if value <= _MOST]
    never = [name for name, value in by_class.items() if value > _MOST]
    words = f"; never as {listed(never, 4)}" if never else ""
    if not reached:
        return "from no confidence on: none is enough"
    return f"from a confidence of {text(min(reached))} to {text(max(reached))} on, by class{words}"


def learnt_from(found: dict[str, Any]) -> str:
    """From which confidence on answers are accepted, in words, of figures of ``fit``.

    Example:
        >>> learnt_from({"threshold": 0.5})
        'from a confidence of 0.5 on'
        >>> learnt_from({"threshold": 0.5, "by_class": [{"judged": True}, {"judged": False}]})
        'from a confidence of 0.5 on, and answers of 1 class from a confidence of its own on'
    """
    common = f"from a confidence of {text(found['threshold'])} on" if found["threshold"] <= _MOST else ""
    own = sum(entry.get("judged", False) for entry in found.get("by_class", []))
    if not own:
        return common
    words = f"answers of {amount(own, 'class')} from a confidence of {'its' if own == 1 else 'their'} own on"
    return f"{common}, and {words}" if common else f"are only {words}"


def show_thresholds(figures: dict[str, Any], output: Output) -> None:
    """Print the threshold of each class with the answers that it was judged from, those with most of them first.

    Args:
        figures: Metrics under the names of ``metrics.json``; nothing is printed where one threshold is for all.
        output: Where to.
    """
    found = figures["acceptance"] or {}
    if "answers_to_judge" not in found:
        return
    names = [entry["name"] for entry in figures["per_class"]]
    entries = sorted(zip(names, found["by_class"], strict=True), key=lambda item: -item[1]["answers"])
    rows = [
        [
            name,
            str(entry["answers"]),
            text(entry["threshold"]) if entry["threshold"] <= _MOST else "-",
            str(entry["accepted"]),
            str(entry["right"]),
            percent(entry["accuracy"]),
            percent(entry["promised"]),
            _said(entry),
        ]
        for name, entry in entries[:MOST_CLASSES]
    ]
    output.line()
    columns = ["class", "left-out answers", "accepted from", "accepted", "right", "accuracy", "at least", "threshold"]
    output.table(columns, rows)
    more = f", of {MOST_CLASSES} of {amount(len(entries), 'class')}" if len(entries) > MOST_CLASSES else ""
    output.text(
        f"left-out images that are taken for the class{more}; a threshold of its own takes "
        f"{found['answers_to_judge']} of them; accuracy: percent right, each class counting the same; at least: the "
        "percent right with 95 % confidence, of classes as frequent as here"
    )
    if below := [name for name, entry in entries[MOST_CLASSES:] if not entry["judged"]]:
        output.text(f"cannot be judged from so few images, so that the threshold for all counts: {listed(below, 8)}")


def _said(entry: dict[str, Any]) -> str:
    if not entry["judged"]:
        return f"that for all: cannot be judged from {amount(entry['answers'], 'image')}"
    return "its own" if entry["threshold"] <= _MOST else "no confidence is enough"
