"""Features as they come, to rows of unit length on a device; NaN and infinite values are refused.

The rule of where rows become so is in `ulfine_cache.store.unit_norm`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ulfine_cache.errors import UlfineError

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
        features: (N, D), of any length.
        what: What the rows are, for the error.
        where: Where they come from, for the error.
        device: Where the tensor goes.
        numbers: int (N,), what the error calls the rows; None counts from 0.

    Returns:
        float32 (N, D); a row of zeros stays one.

    Raises:
        UlfineError: Some rows hold NaN or infinite values.

    Example:
        >>> unit_length(np.array([[3.0, 4.0]]), "features", "the example")
        tensor([[0.6000, 0.8000]])
    """
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        place = int(np.argmin(finite))
        raise UlfineError(
            f"{what} of {where} hold NaN or infinite values in {int((~finite).sum())} rows, first in row "
            f"{place if numbers is None else numbers[place]}: compute them again"
        )
    return normalize(torch.as_tensor(np.ascontiguousarray(features, dtype=np.float32)), dim=-1).to(device)
