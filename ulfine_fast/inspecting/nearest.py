"""The nearest rows of rows, block by block."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Rows(Protocol):
    """What a tensor (N, D) and `ulfine_fast.rows.streamed_rows.StreamedRows` can both be asked."""

    def __len__(self) -> int:
        """N."""
        ...

    def __getitem__(self, places: Tensor, /) -> Tensor:
        """Rows by their places, int64 (k,)."""
        ...

    def split(self, size: int, /) -> Iterable[Tensor]:
        """All rows in order, in blocks."""
        ...


REFERENCES = 20_000
"""Rows that others are compared with; of more a regular sample stands for all."""
_BLOCK = 4096


def nearest(rows: Rows, k: int, references: int = REFERENCES) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The most similar other rows of each row.

    Args:
        rows: float32 (N, D), unit length.
        k: Neighbours of each, at least 1.
        references: Rows that are compared with at most.

    Returns:
        Cosine similarities float32 (N, k), decreasing, and places int64 (N, k); -1 where there are fewer.

    Example:
        >>> import torch
        >>> nearest(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]]), 1)[1][:, 0].tolist()
        [2, 2, 0]
    """
    import faiss
    import torch

    from ulfine_fast.rows.sample_places import sample_places

    places = np.asarray(sample_places(len(rows), references), np.int64)
    compared = np.ascontiguousarray(rows[torch.as_tensor(places)].cpu().numpy(), np.float32)
    similarities = np.full((len(rows), k), -1, np.float32)
    found = np.full((len(rows), k), -1, np.int64)
    start = 0
    for block in rows.split(_BLOCK):
        wanted = min(k + 1, len(compared))
        near, of_compared = faiss.knn(
            np.ascontiguousarray(block.cpu().numpy(), np.float32), compared, wanted, metric=faiss.METRIC_INNER_PRODUCT
        )
        of_rows = places[of_compared]
        own = of_rows == np.arange(start, start + len(block))[:, None]
        # Its own row goes to the end, the others stay in their order.
        order = np.argsort(own, axis=1, kind="stable")[:, : min(k, len(compared) - 1) if own.any() else k]
        near, of_rows, own = (np.take_along_axis(array, order, 1) for array in (near, of_rows, own))
        stop = start + len(block)
        similarities[start:stop, : order.shape[1]] = np.where(own, -1, near)
        found[start:stop, : order.shape[1]] = np.where(own, -1, of_rows)
        start = stop
    return similarities, found
