"""The training history: one small plot for each figure that was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ulfine_exports.pages.figures import ACCENT, drawing
from ulfine_exports.pages.render import short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup
    from numpy.typing import NDArray

MOST_PLOTS = 8
_COUNTERS = ("step", "round", "epoch")


def history_plots(history: Mapping[str, NDArray[np.float64]]) -> list[tuple[str, Markup]]:
    """Draw each recorded figure against the step.

    Args:
        history: Columns of ``history.csv``, ``step`` among them.

    Returns:
        Name and plot of each column that holds at least two values.
    """
    plots: list[tuple[str, Markup]] = []
    for name, values in history.items():
        known = np.isfinite(values)
        if name in _COUNTERS or known.sum() < 2 or len(plots) == MOST_PLOTS:
            continue
        words = short(name.replace("_", " "), 40)
        with drawing(f"Training history: {words}", height=2.1) as (_, axes, drawn):
            axes.plot(
                history["step"][known], values[known], "-" if known.sum() > 30 else "o-", color=ACCENT, markersize=4
            )
            axes.set_xlabel("step")
            axes.margins(y=0.12)
            axes.locator_params(axis="y", nbins=4)
            axes.xaxis.get_major_locator().set_params(integer=True)
        plots.append((words, drawn.svg))
    return plots
