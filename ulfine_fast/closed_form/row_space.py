"""The space that rows span: where they are fewer than their dimensions, all that is learnt from them lies in it."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_axes(rows: Tensor) -> Tensor:
    """Orthonormal principal axes (about the origin) of rows, without those along which they do not reach.

    Args:
        rows: float32 (N, D).

    Returns:
        float32 (D, R) with R at most min(N, D), by rising variance.

    Example:
        >>> principal_axes(torch.tensor([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])).abs()
        tensor([[1., 0.],
                [0., 1.],
                [0., 0.]])
    """
    n_rows, width = rows.shape
    few = n_rows < width
    # The smaller of the two Gram matrices has all of it. Few rows can afford float64.
    exact = rows.double() if few else rows
    values, vectors = torch.linalg.eigh(exact @ exact.T if few else exact.T @ exact)
    reached = values > 1e-6 * values[-1:].clamp_min(1e-30)
    vectors = vectors[:, reached]
    return (exact.T @ (vectors * values[reached].rsqrt())).to(rows) if few else vectors


def row_space(*parts: Tensor) -> Tensor | None:
    """An orthonormal basis of what the rows of all parts span, where it is smaller than the whole space.

    Args:
        parts: float32 (N_i, D).

    Returns:
        float32 (D, sum N_i), or None where there are as many rows as dimensions.
    """
    if sum(map(len, parts)) >= parts[0].shape[1]:
        return None
    return torch.linalg.qr(torch.cat(parts).T)[0]
