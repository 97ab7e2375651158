"""Curves of macro accuracy over labels or imbalance, where comparisons differ in that alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ulfine_exports.pages.figures import SERIES, percent_ticks
from ulfine_exports.pages.picture_files import picture_file
from ulfine_exports.pages.render import short
from ulfine_exports.reporting.comparisons.paired import standard_error

if TYPE_CHECKING:
    from pathlib import Path

    from ulfine_exports.reporting.comparisons.comparison import Comparison

_AXES = {
    "labelled_max": "labelled images of the most frequent class",
    "labelled_fraction": "labelled share of every class",
    "imbalance": "imbalance of the labelled images",
}


@dataclass(frozen=True)
class Curve:
    """Comparisons along one parameter of their protocols.

    Attributes:
        name: For a file: the parameter, with a number from the second on.
        parameter: What differs.
        fixed: What other parameters of `_AXES` are, in words.
        points: Value and comparison, rising.
    """

    name: str
    parameter: str
    fixed: str
    points: list[tuple[float, Comparison]]


def find_curves(comparisons: dict[str, Comparison]) -> list[Curve]:
    """Find the comparisons that differ in one parameter alone.

    Args:
        comparisons: By the name of the split.
    """
    found: list[Curve] = []
    for parameter in _AXES:
        groups: dict[str, dict[float, Comparison]] = {}
        fixed: dict[str, str] = {}
        for comparison in comparisons.values():
            value = comparison.protocol.get(parameter)
            if not isinstance(value, int | float):
                continue
            others = {key: item for key, item in comparison.protocol.items() if key != parameter}
            key = repr(sorted(others.items()))
            fixed[key] = ", ".join(f"{name}={others[name]}" for name in _AXES if others.get(name) is not None)
            groups.setdefault(key, {})[float(value)] = comparison
        several = [(fixed[key], sorted(points.items())) for key, points in groups.items() if len(points) > 1]
        for number, (words, points) in enumerate(several):
            found.append(Curve(parameter + (f"-{number + 1}" if number else ""), parameter, words, points))
    return found


def write_curve(path: Path, curve: Curve) -> None:
    """Draw a curve into a file: means with their standard errors over the draws.

    Args:
        path: With one of `ulfine_exports.pages.picture_files.SUFFIXES`.
        curve: Of `find_curves`.
    """
    names = list(dict.fromkeys(method.method for _, comparison in curve.points for method in comparison.methods))
    rows = (len(names) + 2) // 3
    with picture_file(path, f"Macro accuracy over {curve.parameter}", height=3.1 + 0.22 * rows, width=6) as (fig, axes):
        for place, name in enumerate(names):
            known = [
                (value, method.macro_accuracy.mean, standard_error(method.macro_accuracy))
                for value, comparison in curve.points
                for method in comparison.methods
                if method.method == name and method.macro_accuracy.mean is not None
            ]
            axes.errorbar(
                [value for value, _, _ in known],
                [mean for _, mean, _ in known],
                yerr=[error or 0.0 for _, _, error in known],
                color=SERIES[place % len(SERIES)],
                # More methods than colours: a dash tells them apart, in print too.
                linestyle=("-", "--", ":", "-.")[place // len(SERIES) % 4],
                marker="os^Dvx"[place % 6],
                markersize=5,
                capsize=3,
                label=short(name, 22),
            )
        values = [value for value, _ in curve.points]
        if values[0] > 0 and values[-1] / values[0] >= 4:
            axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        axes.set_xlabel(_AXES[curve.parameter] + (f" ({curve.fixed})" if curve.fixed else ""))
        axes.set_ylabel("macro accuracy")
        percent_ticks(axes.yaxis)
        fig.legend(loc="outside upper left", ncols=3)
