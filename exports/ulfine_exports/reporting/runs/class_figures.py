"""Figures with one place for each class, in the order of labelled images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ulfine_exports.pages.figures import ACCENT, AMBER, LINE, SLATE, drawing, legend_on_top, percent_axis
from ulfine_exports.pages.render import short

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MOST_NAMED = 30
"""Classes that are named in a figure; of more, only their rank is drawn, and a table names them."""

_INCHES_A_CLASS = 0.27


def counts_figure(
    names: Sequence[str],
    labelled: NDArray[np.int64],
    pseudo: NDArray[np.int64] | None,
    expected: NDArray[np.float64] | None,
) -> Markup:
    """Images of each class on a log scale.

    Args:
        names: C names, most labelled images first; the other arrays are in this order.
        labelled: Labelled images.
        pseudo: Unlabelled images that the run takes for the class; None where that is unknown.
        expected: What the estimated prior expects of the unlabelled images; None where it is unknown.
    """
    series: dict[str, Any] = {"labelled": labelled}
    series |= {} if expected is None else {"estimated prior": expected}
    series |= {} if pseudo is None else {"pseudo-labelled": pseudo}
    colours = {"labelled": ACCENT, "estimated prior": SLATE, "pseudo-labelled": AMBER}
    with drawing("Images of each class", height=_height(names)) as (figure, axes, drawn):
        _places(axes, names, series, colours)
        legend_on_top(figure)
        named = len(names) <= MOST_NAMED
        (axes.set_xscale if named else axes.set_yscale)("symlog", linthresh=1, linscale=0.4)
        top = max(float(np.max(values)) for values in series.values())
        (axes.set_xlim if named else axes.set_ylim)(-0.1, top * 1.6 + 1)
        axis = axes.xaxis if named else axes.yaxis
        ticks = [0, *(10**power for power in range(int(np.log10(max(top, 1))) + 1))]
        axis.set_ticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.set_ticks([], minor=True)
        (axes.set_xlabel if named else axes.set_ylabel)("images")
    return drawn.svg


def recall_figure(names: Sequence[str], recalls: Mapping[str, NDArray[np.float64]]) -> Markup:
    """Recall of each class, by who answers.

    Args:
        names: C names, most labelled images first.
        recalls: float64 (C,) in this order, NaN for a class without a row; at most three, the run itself last.
    """
    colours = dict(zip(reversed(list(recalls)), (ACCENT, AMBER, SLATE), strict=False))
    with drawing("Recall of each class", height=_height(names)) as (figure, axes, drawn):
        _places(axes, names, recalls, colours, smooth=True)
        legend_on_top(figure)
        percent_axis(axes, "x" if len(names) <= MOST_NAMED else "y")
        (axes.set_xlabel if len(names) <= MOST_NAMED else axes.set_ylabel)("recall")
    return drawn.svg


def _height(names: Sequence[str]) -> float:
    return 1.0 + _INCHES_A_CLASS * len(names) if len(names) <= MOST_NAMED else 3.6


def _places(
    axes: Axes,
    names: Sequence[str],
    series: Mapping[str, NDArray[Any]],
    colours: Mapping[str, str],
    *,
    smooth: bool = False,
) -> None:
    """One mark for each class and series: a line a class where they are named, a column a class where they are many."""
    place = np.arange(len(names))
    table = np.array(list(series.values()), np.float64)
    if len(names) <= MOST_NAMED:
        known = ~np.isnan(table).all(axis=0)
        low, high = (np.zeros(len(names)) for _ in range(2))
        low[known], high[known] = np.nanmin(table[:, known], axis=0), np.nanmax(table[:, known], axis=0)
        axes.hlines(place[known], low[known], high[known], color=LINE, linewidth=3)
        for name, values in series.items():
            axes.plot(values, place, "o", color=colours[name], markersize=6, label=name, clip_on=False)
        axes.set_yticks(place, [short(name, 22) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
    else:
        for name, values in series.items():
            axes.plot(place + 1, values, ".", color=colours[name], markersize=4, alpha=0.45 if smooth else 0.9)
            axes.plot(place + 1, _moving_mean(values) if smooth else values, color=colours[name], label=name)
        axes.set_xlabel("class, by labelled images")


def _moving_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each class and its neighbours by rank, a tenth of all."""
    half = max(1, len(values) // 20)
    windows = (values[max(0, place - half) : place + half + 1] for place in range(len(values)))
    return np.array([np.nan if np.isnan(window).all() else np.nanmean(window) for window in windows])
