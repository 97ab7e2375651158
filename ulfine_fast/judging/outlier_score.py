"""How unlike every class a picture is: one number from its logits. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KNOWN_SHARE = 0.95
"""Share of left-out labelled rows, each class counting the same, whose score is at most 1."""


@dataclass(frozen=True)
class OutlierScale:
    """What the energies of a model's logits are measured by.

    Attributes:
        middle: Median energy of labelled rows that were left out.
        threshold: The energy that `KNOWN_SHARE` of them stay below; more than the middle.
    """

    middle: float
    threshold: float


def outlier_scores(logits: NDArray[np.floating], scale: OutlierScale) -> NDArray[np.float32]:
    """`(E - middle) / (threshold - middle)` with the energy `E = -log sum_k exp z_k`: the one rule for all.

    The energy is that of Liu et al. (Energy-based out-of-distribution detection, NeurIPS 2020): it is high where no
    class is likely, while a probability is high wherever one class is likelier than the others.

    Args:
        logits: float (N, C), as the model was fitted, without a test prior; N may be 0.
        scale: Of the model.

    Returns:
        float32 (N,): 0 in the middle of known rows, and above 1 for what is stranger than 95 % of them.

    Example:
        >>> outlier_scores(np.array([[0.0, -50.0], [-3.0, -50.0]]), OutlierScale(0.0, 2.0)).tolist()
        [-0.0, 1.5]
    """
    if not len(logits):
        return np.zeros(0, np.float32)
    largest = logits.max(axis=1)
    energies = -(largest + np.log(np.exp(logits - largest[:, None]).sum(axis=1)))
    return ((energies - scale.middle) / (scale.threshold - scale.middle)).astype(np.float32)
