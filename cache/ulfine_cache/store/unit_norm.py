"""Rows of unit norm, in numpy. The one rule for all rooms of where rows become so.

Features point somewhere and have no other meaning, so rows are of unit norm wherever they rest: in a shard (rounded to
float16), in what `FeatureCache.features` gives, in what a method is trained on. Whoever takes rows from outside brings
them there: the encoder and the import for a cache, `ulfine_fast.rows.unit_length` for training, and
`ulfine_fast.models.logit_model.LogitModel` for every classifier, in Python and at the start of an exported graph.
In torch that is `torch.nn.functional.normalize`, in a graph `LpNormalization` or what torch's exporter makes of it.

Rows that come from a cache thus pass two of these doors more than they need. Each moves last bits only, which is why
they stay: without them, fits and exports would have other bits than they had.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Floats = TypeVar("Floats", bound=np.floating)


def unit_norm(rows: npt.NDArray[Floats]) -> npt.NDArray[Floats]:
    """Rows over their Euclidean norm.

    Args:
        rows: float (..., D), none of them all zeros. Squares must not overflow.

    Returns:
        float (..., D) of the same precision.

    Example:
        >>> unit_norm(np.array([[3.0, 4.0]]))
        array([[0.6, 0.8]])
    """
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)
