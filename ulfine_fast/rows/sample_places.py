"""A sample of rows that covers all of them evenly, without any random numbers."""

import numpy as np
from numpy.typing import NDArray


def sample_places(n_rows: int, limit: int) -> NDArray[np.int64]:
    """Places of at most `limit` of `n_rows` rows, the first and the last among them, at equal distances.

    Args:
        n_rows: How many rows there are; 0 gives none.
        limit: How many are wanted, at least 1; where there are fewer, all are given.

    Returns:
        int64 (min(n_rows, limit),), in rising order, each once.

    Example:
        >>> sample_places(9, 3), sample_places(2, 3)
        (array([0, 4, 8]), array([0, 1]))
    """
    return np.linspace(0, n_rows - 1, min(n_rows, limit)).round().astype(np.int64)
