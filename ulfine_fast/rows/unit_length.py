"""Features as they come, to rows of unit length on a device; what has no direction is refused.

The rule of where rows become so is in `ulfine_cache.store.unit_norm`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ulfine_cache.errors import UlfineError
from ulfine_cache.store.unit_norm import objection

if TYPE_CHECKING:
    from numpy.typing import NDArray


def unit_length(
    features: NDArray[np.floating],
    what: str,
    where: str,
    device: str = "cpu",
    numbers: NDArray[np.integer] | None = None,
) -> Tensor:
    """Check features and bring them to unit length.

    Args:
        features: (N, D), of any length from `SHORTEST` to `LONGEST` of `ulfine_cache.store.unit_norm`.
        what: What the rows are, for the error.
        where: Where they come from, for the error.
        device: Where the tensor goes.
        numbers: int (N,), what the error calls the rows; None counts from 0.

    Returns:
        float32 (N, D).

    Raises:
        UlfineError: Some rows hold NaN or infinite values, or have a length that cannot be normalised.

    Example:
        >>> unit_length(np.array([[3.0, 4.0]]), "features", "the example")
        tensor([[0.6000, 0.8000]])
    """
    if reason := objection(features, f"{what} of {where}", numbers):
        raise UlfineError(reason)
    return normalize(torch.as_tensor(np.ascontiguousarray(features, dtype=np.float32)), dim=-1).to(device)
