"""The page of one comparison, or of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ulfine_cache.wording.counts import amount
from ulfine_exports.pages.render import render
from ulfine_exports.reporting.comparisons.comparison import FIGURES, Comparison, MethodFigures, Spread
from ulfine_exports.reporting.comparisons.comparison_figures import spread_figure
from ulfine_exports.reporting.comparisons.paired import Paired, paired, standard_error
from ulfine_fast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = {
    "macro_accuracy": ("macro accuracy", "The mean of the recalls of the classes, in percent: more is better."),
    "accuracy": ("accuracy", "Right answers of all test images, in percent: more is better."),
    "head_accuracy": ("head", "Mean recall of the third of the classes with most labels: more is better."),
    "medium_accuracy": ("medium", "Mean recall of the middle third: more is better."),
    "tail_accuracy": ("tail", "Mean recall of the third of the classes with fewest labels: more is better."),
    "ece": ("calibration error", "The mean gap between confidence and accuracy, in percent: less is better."),
    "nll": ("NLL", "The negative log-likelihood of the true class: less is better."),
    "seconds": ("seconds", "Seconds of training: less is better."),
}
_PERCENT = {name for name in _WORDS if name.endswith("accuracy") or name == "ece"}
_DIFFERENCES = ("macro_accuracy", "tail_accuracy")


def comparison_page(comparisons: dict[str, Comparison]) -> str:
    """Put comparisons into one page.

    Of several the figures are means over all of them; every single one has its table.

    Args:
        comparisons: By name.

    Returns:
        HTML. Same comparisons, same text.
    """
    whole = _joined(comparisons)
    several = len(comparisons) > 1
    (name, *_) = comparisons
    return render(
        "comparison.html",
        title=f"{amount(len(comparisons), 'comparison')}" if several else f"Comparison on {name}",
        styles=["report.css"],
        scripts=["sort.js"],
        version=__version__,
        first=whole.methods[0].method,
        draws=amount(len(whole.seeds), "draw"),
        several=several,
        table=_table(whole),
        figures=_figures(whole),
        differences=_differences(whole),
        parts=[
            {"name": key, "draws": amount(len(found.seeds), "draw"), "table": _table(found)}
            for key, found in comparisons.items()
        ]
        if several
        else [],
        protocol=[(key, str(value)) for key, value in sorted(next(iter(comparisons.values())).protocol.items())],
    )


def _joined(comparisons: dict[str, Comparison]) -> Comparison:
    """All comparisons as one, with every draw of each; methods that one of them lacks are left out."""
    if len(comparisons) == 1:
        return next(iter(comparisons.values()))
    found = list(comparisons.values())
    of_each = [{method.method: method for method in comparison.methods} for comparison in found]
    names = [name for name in of_each[0] if all(name in methods for methods in of_each)]
    seeds = list(range(sum(len(comparison.seeds) for comparison in found)))

    def joined(name: str, figure: str) -> Spread:
        parts: list[float | None] = []
        for comparison, methods in zip(found, of_each, strict=True):
            spread = methods[name].spread(figure)
            parts += [None] * len(comparison.seeds) if spread is None else spread.per_seed
        known = [value for value in parts if value is not None]
        return Spread(mean=sum(known) / len(known) if known else None, per_seed=parts)

    if not names:
        return found[0]
    methods = [MethodFigures(method=name, **{figure: joined(name, figure) for figure in FIGURES}) for name in names]
    return Comparison(split="all", seeds=seeds, methods=methods)


def _table(comparison: Comparison) -> dict[str, Any]:
    """A row for each method, and the names of the columns."""
    first, *_ = comparison.methods
    shown = [name for name in FIGURES if any(method.spread(name) for method in comparison.methods)]
    return {
        "columns": [_WORDS[name][0] for name in shown],
        "rows": [
            {
                "method": method.method,
                "cells": [_cell(name, method.spread(name)) for name in shown],
                "difference": None if method is first else _points(paired(method.macro_accuracy, first.macro_accuracy)),
            }
            for method in comparison.methods
        ],
    }


def _cell(name: str, spread: Spread | None) -> tuple[float | None, str]:
    """What a cell is sorted by, and its text: mean ± standard deviation, of seconds the mean alone."""
    if spread is None or spread.mean is None:
        return None, "–"
    if name not in _PERCENT:
        error = "" if spread.std is None or name == "seconds" else f" ± {spread.std:.1g}"
        return spread.mean, f"{spread.mean:.3g}{error}"
    error = "" if spread.std is None else f" ± {100 * spread.std:.1f}"
    return spread.mean, f"{100 * spread.mean:.1f}{error}"


def _points(difference: Paired) -> tuple[float | None, str]:
    if difference.mean is None:
        return None, "–"
    error = "" if difference.stderr is None else f" ± {100 * difference.stderr:.1f}"
    return difference.mean, f"{100 * difference.mean:+.1f}{error}"


def _figures(comparison: Comparison) -> list[dict[str, Any]]:
    """One picture for each figure that there is."""
    return [
        {
            "name": _WORDS[name][0],
            "words": _WORDS[name][1],
            "svg": spread_figure(
                f"{_WORDS[name][0]} of each method",
                [method.method for method in comparison.methods],
                [[] if spread is None else spread.per_seed for spread in spreads],
                [None if spread is None else spread.mean for spread in spreads],
                [None if spread is None else standard_error(spread) for spread in spreads],
                percent=name in _PERCENT,
            ),
        }
        for name in FIGURES
        for spreads in [[method.spread(name) for method in comparison.methods]]
        if any(spreads)
    ]


def _differences(comparison: Comparison) -> list[dict[str, Any]]:
    """Paired differences to the first method, in macro and in tail accuracy."""
    first, *others = comparison.methods
    found: list[dict[str, Any]] = []
    for name in _DIFFERENCES:
        base = first.spread(name)
        able = [method for method in others if method.spread(name) is not None]
        if base is None or not able:
            continue
        pairs = [paired(spread, base) for method in able if (spread := method.spread(name)) is not None]
        found.append({"name": _WORDS[name][0], "svg": _difference_figure(_WORDS[name][0], able, pairs)})
    return found


def _difference_figure(words: str, methods: Sequence[MethodFigures], pairs: Sequence[Paired]) -> Any:
    return spread_figure(
        f"Paired difference in {words}",
        [method.method for method in methods],
        [pair.each for pair in pairs],
        [pair.mean for pair in pairs],
        [pair.stderr for pair in pairs],
        percent=True,
        zero=True,
    )
