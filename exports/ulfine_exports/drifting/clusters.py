"""Groups of look-alikes of which there are more than before: what changed, to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.cluster import KMeans

NUMBERS = (2, 4, 8, 16)
"""How many groups are tried; where the surest is the surest of all they are taken."""

ROWS_OF_A_CLUSTER = 8
"""New rows for each group, on average, at least."""

LEVEL = 0.05
SHOWN = 8
"""Rows of a cluster that are named, those in its middle."""


def grown_clusters(former: NDArray[np.floating], new: NDArray[np.floating]) -> list[dict[str, Any]]:
    """Find groups among both (k-means) that are more frequent among the new rows than chance lets them be.

    Args:
        former: float (M, W).
        new: float (N, W).

    Returns:
        The surest first, each ``former`` and ``new`` (its share), ``p_value`` (Fisher's exact test, times the number of
        groups tried) and ``rows``, places among the new ones, from its middle outwards, at most `SHOWN`.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(200, 4))
        >>> [group["new"] for group in grown_clusters(rows, rows[:20] + 50)]
        [1.0]
    """
    from sklearn.cluster import KMeans

    every = np.concatenate([former, new]).astype(np.float64)
    most = min(len(new) // ROWS_OF_A_CLUSTER, len(np.unique(every, axis=0)))
    tried = [number for number in NUMBERS if number <= most]
    found = [
        _grown(KMeans(number, n_init=cast(Any, 4), random_state=0).fit(every), every, len(former), sum(tried))
        for number in tried
    ]
    return min((groups for groups in found if groups), key=lambda groups: groups[0]["p_value"], default=[])


def _grown(found: KMeans, every: NDArray[np.float64], m: int, tests: int) -> list[dict[str, Any]]:
    """The groups of one clustering; the first `m` rows are former ones."""
    from scipy.stats import hypergeom

    n = len(every) - m
    away = np.linalg.norm(every - found.cluster_centers_[found.labels_], axis=1)
    groups: list[dict[str, Any]] = []
    for cluster in range(len(found.cluster_centers_)):
        mine = found.labels_ == cluster
        before, now = int(mine[:m].sum()), int(mine[m:].sum())
        p_value = min(1.0, tests * float(hypergeom.sf(now - 1, m + n, before + now, n)))
        if p_value < LEVEL:
            places = np.flatnonzero(mine[m:])
            places = places[np.argsort(away[m:][places], kind="stable")][:SHOWN]
            groups.append({"former": before / m, "new": now / n, "p_value": p_value, "rows": places.tolist()})
    return sorted(groups, key=lambda group: group["p_value"])
