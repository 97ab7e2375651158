"""The scale of the outlier score, learnt from labelled rows that were left out. numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_fast.judging.accepted_rows import balanced_weights
from ulfine_fast.judging.outlier_score import KNOWN_SHARE, OutlierScale, outlier_scores

_FEWEST = 20
"""Left-out rows: of fewer nobody can say what 95 % of them stay below."""

_SPREAD = 1e-6
"""Energies that vary less say nothing."""


def learn_outlier_scale(energies: NDArray[np.floating], labels: NDArray[np.integer]) -> OutlierScale | None:
    """The weighted median and the weighted 95th percentile of energies, each class counting the same.

    Args:
        energies: float (M,), of labelled rows that the model did not learn from.
        labels: int (M,), of the same rows.

    Returns:
        None of fewer than 20 rows, or where all are alike.

    Example:
        >>> learn_outlier_scale(np.arange(100.0), np.zeros(100, int))
        OutlierScale(middle=49.0, threshold=94.0)
    """
    if len(labels) < _FEWEST:
        return None
    order, weights = np.argsort(energies, kind="stable"), balanced_weights(labels)
    shares = np.cumsum(weights[order]) / weights.sum()
    # A sum of shares may miss the share by a rounding error.
    places = np.searchsorted(shares, np.array([0.5, KNOWN_SHARE]) - 1e-9)
    middle, threshold = energies[order][places].tolist()
    return OutlierScale(middle, threshold) if threshold - middle > _SPREAD else None


def outlier_figures(
    left_out: tuple[NDArray[np.floating], NDArray[np.integer]],
    labelled_counts: NDArray[np.integer],
    tested: NDArray[np.floating],
) -> dict[str, Any] | None:
    """Learn the scale, and hold it to test rows, whose classes are all known.

    Args:
        left_out: float (M,) and int (M,), energies and labels of left-out rows. Those of a class of one image have no
            say: nothing was left to learn it from.
        labelled_counts: int (C,).
        tested: float (N, C), logits of test rows; N may be 0.

    Returns:
        ``known_share``, ``rows`` (left-out rows that the scale is from), ``middle`` and ``threshold``, as in
        `OutlierScale`, and ``test``: None without test rows, else their number ``rows`` and ``above``, how many of them
        have a score above 1. None where there is no scale.
    """
    judged = labelled_counts[left_out[1]] > 1
    scale = learn_outlier_scale(left_out[0][judged], left_out[1][judged])
    if scale is None:
        return None
    test = None
    if len(tested):
        test = {"rows": len(tested), "above": int((outlier_scores(tested, scale) > 1).sum())}
    return {
        "known_share": KNOWN_SHARE,
        "rows": int(judged.sum()),
        "middle": scale.middle,
        "threshold": scale.threshold,
        "test": test,
    }
