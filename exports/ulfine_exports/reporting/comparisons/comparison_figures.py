"""Figures of a comparison: a line for each method, a dot for each draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ulfine_exports.pages.figures import ACCENT, QUIET, SLATE, drawing, percent_ticks
from ulfine_exports.pages.render import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

_INCHES_A_METHOD = 0.3


def spread_figure(
    label: str,
    names: Sequence[str],
    each: Sequence[Sequence[float | None]],
    means: Sequence[float | None],
    errors: Sequence[float | None],
    *,
    percent: bool,
    zero: bool = False,
) -> Markup:
    """Draw what each method reached: small dots are draws, the large one is their mean with its standard error.

    Args:
        label: What the figure shows; different for each of a page.
        names: Methods, from the top down.
        each: Values by method and draw.
        means: By method.
        errors: By method; None for no bar.
        percent: Whether values are fractions.
        zero: Whether there is a line at 0, as for differences.
    """
    with drawing(label, height=0.75 + _INCHES_A_METHOD * len(names)) as (_, axes, drawn):
        if zero:
            axes.axvline(0, color=QUIET, linewidth=1)
        for place, (values, mean, error) in enumerate(zip(each, means, errors, strict=True)):
            known = [value for value in values if value is not None]
            # Draws one beside the other, the first on top, so that equal values can be told apart.
            beside = np.linspace(-0.22, 0.22, len(known)) if len(known) > 1 else np.zeros(len(known))
            axes.plot(known, place + beside, "o", color=SLATE, markersize=3, alpha=0.7, markeredgewidth=0)
            if mean is not None:
                axes.errorbar(mean, place, xerr=error, fmt="o", color=ACCENT, markersize=7, elinewidth=2, capsize=4)
        axes.set_yticks(range(len(names)), [short(name, 22) for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.06)
        axes.locator_params(axis="x", nbins=6)
        if percent:
            percent_ticks(axes.xaxis, points=zero)
    return drawn.svg
