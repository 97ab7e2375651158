"""The critical-difference picture: methods on a scale of mean ranks, bars over those that are not told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ulfine_cache.wording.counts import amount
from ulfine_exports.pages.figures import ACCENT, INK, QUIET
from ulfine_exports.pages.picture_files import picture_file
from ulfine_exports.pages.render import short

if TYPE_CHECKING:
    from pathlib import Path

    from ulfine_exports.reporting.comparisons.ranks import Ranks

_LINE, _BAR, _WIDTH = 0.2, 0.13, 6.4
"""Inches."""


def write_rank_picture(path: Path, ranks: Ranks) -> None:
    """Draw ranks into a file.

    Args:
        path: With one of `ulfine_exports.pages.picture_files.SUFFIXES`.
        ranks: Of `ulfine_exports.reporting.comparisons.ranks.mean_ranks`.
    """
    many, groups = len(ranks.names), ranks.groups()
    half = (many + 1) // 2
    inches = 0.55 + _BAR * (len(groups) + 1) + _LINE * half + 0.2
    with picture_file(path, "Mean ranks of the methods", height=inches + 0.2, width=_WIDTH) as (_, axes):
        axes.set_axis_off()
        axes.set_xlim(1 - 0.7 * (many - 1), many + 0.7 * (many - 1))
        # The axes run in inches from the scale downwards.
        axes.set_ylim(inches - 0.5, -0.55)
        _draw_scale(axes, ranks)
        for number, (first, last) in enumerate(groups):
            y = _BAR * (number + 1)
            ends = [ranks.means[first] - 0.01 * (many - 1), ranks.means[last] + 0.01 * (many - 1)]
            axes.plot(ends, [y, y], color=ACCENT, linewidth=4, solid_capstyle="butt")
        top = _BAR * (len(groups) + 1.6)
        for place, (name, mean) in enumerate(zip(ranks.names, ranks.means, strict=True)):
            left = place < half
            y = top + _LINE * (place if left else many - 1 - place)
            end = 1 - 0.06 * (many - 1) if left else many + 0.06 * (many - 1)
            axes.plot([mean, mean, end], [0, y, y], color=INK, linewidth=0.9)
            words = f"{short(name, 24)}  {mean:.2f}" if left else f"{mean:.2f}  {short(name, 24)}"
            axes.text(end, y, words + " " if left else " " + words, ha="right" if left else "left", va="center")
        words = (
            f"mean rank in macro accuracy over {amount(ranks.blocks, 'draw')}; joined: not told apart (Nemenyi, 5 %)"
        )
        axes.text((1 + many) / 2, top + _LINE * half, words, ha="center", va="center", fontsize=8.5, color=QUIET)


def _draw_scale(axes: Any, ranks: Ranks) -> None:
    many = len(ranks.names)
    axes.plot([1, many], [0, 0], color=INK, linewidth=1.2)
    for rank in range(1, many + 1):
        axes.plot([rank, rank], [0, -0.07], color=INK, linewidth=1.2)
        if many <= 12 or rank % 2:
            axes.text(rank, -0.1, str(rank), ha="center", va="bottom", fontsize=9)
    end = 1 + min(ranks.distance, many - 1)
    axes.plot([1, end], [-0.38, -0.38], color=ACCENT, linewidth=1.5, marker="|", markersize=6)
    axes.text(1, -0.44, f"critical difference {ranks.distance:.2f}", ha="left", va="bottom", fontsize=8.5, color=ACCENT)
