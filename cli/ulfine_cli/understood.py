"""The last lines of a command that reads a source: classes, sets, what was left out, and what looks wrong."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from ulfine_cache.sources.words.ignored_names import ignored_in_words
from ulfine_cache.wording.counts import amount
from ulfine_cli.output import Output

_APART = ("sets", "class_counts", "skipped_reasons", "ignored", "notes", "warnings")
_MOST_CLASSES = 20
_RAREST = 5


def show(figures: Mapping[str, Any], output: Output) -> None:
    """Print the figures, then a table of the classes, the sets, the files that are no images, and the warnings."""
    output.pairs({name: value for name, value in figures.items() if name not in _APART})
    classes: Mapping[str, Mapping[str, int]] = figures["class_counts"]
    if len(classes) > _MOST_CLASSES:
        output.line(_summary(classes))
    elif classes:
        kinds = list(next(iter(classes.values())))
        rows = [[name, *(str(counts[kind]) for kind in kinds)] for name, counts in classes.items()]
        output.table(["labelled images", *kinds], rows)
    if figures["sets"]:
        output.line(f"sets: {_listed(figures['sets'])}; unlabelled: {_unlabelled(figures)}")
    if figures["skipped_reasons"]:
        # The reasons have commas of their own.
        output.line(f"skipped: {_listed(figures['skipped_reasons'], '; ')} (skipped.csv names them)")
    for line in ignored_in_words(figures["ignored"]):
        output.line(line)
    for note, count in figures.get("notes", {}).items():
        output.line(f"note: {amount(count, 'image')} {note}")
    for line in figures["warnings"]:
        output.line(f"warning: {line}")


def _summary(classes: Mapping[str, Mapping[str, int]]) -> str:
    totals = {name: sum(counts.values()) for name, counts in classes.items()}
    rarest = sorted(totals, key=lambda name: totals[name])[:_RAREST]
    few = ", ".join(f"{name!r} {totals[name]}" for name in rarest)
    return (
        f"{amount(len(totals), 'class')} of {min(totals.values())} to "
        f"{amount(max(totals.values()), 'labelled image')}, median {median(totals.values()):g}; the fewest: {few}"
    )


def _listed(counts: Mapping[str, int], between: str = ", ") -> str:
    return between.join(f"{count} {name}" for name, count in counts.items())


def _unlabelled(figures: Mapping[str, Any]) -> int:
    labelled: Sequence[int] = [count for counts in figures["class_counts"].values() for count in counts.values()]
    return sum(figures["sets"].values()) - sum(labelled)
