"""Figures about confidence: does it tell the truth, and what is gained by asking for more of it?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ulfine_exports.pages.figures import ACCENT, AMBER, LINE, QUIET, SERIES, drawing, legend_on_top, percent_axis

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup
    from numpy.typing import NDArray

BINS = 10
_SHARES = 201


def reliability_figure(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> Markup:
    """Accuracy against confidence, in ten bins, with the share of rows in each.

    Args:
        confidence: (N,), N > 0.
        right: (N,).
    """
    bins = np.clip((np.asarray(confidence, np.float64) * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    mean = np.bincount(bins, weights=confidence, minlength=BINS)[filled] / counts[filled]
    accuracy = np.bincount(bins, weights=right, minlength=BINS)[filled] / counts[filled]
    with drawing("Reliability: accuracy against confidence") as (figure, axes, drawn):
        edges = np.arange(BINS) / BINS
        axes.bar(
            edges, counts / counts.sum(), width=1 / BINS, align="edge", color=LINE, alpha=0.7, label="share of answers"
        )
        axes.plot([0, 1], [0, 1], "--", color=QUIET, linewidth=1, label="as sure as right")
        axes.plot(mean, accuracy, "o-", color=ACCENT, markersize=5, label="accuracy", clip_on=False)
        percent_axis(axes, "x")
        percent_axis(axes)
        axes.set_xlabel("confidence")
        axes.set_ylabel("accuracy")
        legend_on_top(figure)
    return drawn.svg


def coverage_curve(
    confidence: NDArray[np.floating], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy of the surest rows, for every share of the rows.

    Args:
        confidence: (N,), N > 0.
        right: (N,).

    Returns:
        Shares in (0, 1], rising, and the accuracy of the surest of that share. Of equally sure rows all or none count.

    Example:
        >>> shares, accuracy = coverage_curve(np.array([0.9, 0.6]), np.array([True, False]))
        >>> shares.tolist(), accuracy.tolist()
        ([0.5, 1.0], [1.0, 0.5])
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(right[order])[ends]
    return (ends + 1) / len(order), hits / (ends + 1)


def coverage_figure(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> Markup:
    """Accuracy of the surest answers, against how many are answered at all."""
    shares, accuracy = coverage_curve(confidence, right)
    kept = np.unique(np.searchsorted(shares, np.linspace(shares[0], 1, _SHARES)))
    with drawing("Coverage against accuracy") as (_, axes, drawn):
        axes.plot(shares[kept], accuracy[kept], color=ACCENT)
        axes.plot(1, accuracy[-1], "o", color=ACCENT, markersize=6, clip_on=False)
        percent_axis(axes, "x")
        percent_axis(axes)
        lowest = float(accuracy[shares >= 0.1].min())
        bottom = max(0.0, np.floor((lowest - 0.02) * 10) / 10)
        axes.set_ylim(bottom, 1 + (1 - bottom) * 0.03)
        axes.set_xlabel("coverage: the surest answers, of all")
        axes.set_ylabel("accuracy")
    return drawn.svg


def pseudo_label_figure(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], groups: Mapping[str, NDArray[np.bool_]]
) -> Markup:
    """Precision of the pseudo-labels above a threshold, against the threshold, and how many are used.

    Args:
        confidence: (N,), N > 0.
        right: (N,).
        groups: Which rows belong to head, medium and tail by their pseudo-label, bool (N,) each.
    """
    thresholds = np.linspace(0, 0.99, 100)
    used = confidence[None, :] >= thresholds[:, None]
    with drawing("Precision of pseudo-labels against the threshold") as (figure, axes, drawn):
        colours = (SERIES[4], SERIES[2], AMBER)
        lines = [("all", np.ones(len(right), bool), ACCENT)]
        lines += [(name, rows, colour) for (name, rows), colour in zip(groups.items(), colours, strict=True)]
        for place, (name, rows, colour) in enumerate(lines):
            counts = (used & rows).sum(axis=1)
            precision = np.divide((used & rows & right).sum(axis=1), counts, where=counts > 0, out=np.full(100, np.nan))
            width = 1.5 if place else 2.6
            axes.plot(thresholds, precision, color=colour, label=name, linewidth=width, zorder=3 - 0.1 * place)
        axes.fill_between(thresholds, used.mean(axis=1), color=LINE, alpha=0.45, label="used", linewidth=0)
        percent_axis(axes, "x")
        percent_axis(axes)
        axes.set_xlabel("confidence from which a pseudo-label is used")
        axes.set_ylabel("precision")
        legend_on_top(figure)
    return drawn.svg
