"""Whether a difference over draws is more than chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MOST_EXACT = 20
"""Pairs up to which all 2^n signs are tried: a million sums."""

_DRAWN = 200_000
_BLOCK = 5_000


def paired_permutation_test(differences: NDArray[np.float64]) -> float:
    """Two-sided test that paired differences lie evenly about 0, by turning their signs.

    Exact for ties and zeros too, up to 20 pairs; beyond that from 200,000 drawn signs. The smallest value that n pairs
    can give is 2 / 2^n: five pairs never show 0.05. Source: Fisher, The Design of Experiments, 1935, section 21.

    Args:
        differences: float64 (n,).

    Returns:
        The p-value, above 0 and at most 1.

    Example:
        >>> paired_permutation_test(np.array([0.01, 0.02, 0.03, 0.01, 0.02, 0.01]))
        0.03125
    """
    # Sums of the same numbers in another order differ in their last bits and are ties nevertheless.
    least = abs(differences.sum()) * (1 - 1e-9) - 1e-12
    if len(differences) <= _MOST_EXACT:
        sums = np.zeros(1)
        for difference in differences:
            sums = np.concatenate([sums + difference, sums - difference])
        return float(np.mean(np.abs(sums) >= least))
    generator = np.random.default_rng(0)
    found = 1
    for _ in range(0, _DRAWN, _BLOCK):
        signs = generator.integers(0, 2, (_BLOCK, len(differences))) * 2 - 1
        found += int((np.abs(signs @ differences) >= least).sum())
    return found / (_DRAWN + 1)


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests, so that all of them hold together.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.

    Args:
        values: p-values.

    Returns:
        Corrected ones, in their order, at most 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected
