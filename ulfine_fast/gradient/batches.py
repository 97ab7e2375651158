"""Batches of labelled rows, and of unlabelled ones, whether these are in memory or on the disk."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ulfine_fast.rows.streamed_rows import StreamedRows


def batches(n_rows: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless row numbers, int64, each pass over all rows in a new order; everything at once where it fits."""
    while True:
        order = torch.randperm(n_rows, generator=generator)
        if n_rows <= batch_size:
            yield order
            continue
        for start in range(0, n_rows - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def unlabelled_batches(rows: Tensor | StreamedRows, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless row numbers, int64: each pass in a new order, chunk-shuffled where rows stay on the disk.

    Args:
        rows: `TrainingData.unlabelled`.
        batch_size: Rows of a batch.
        generator: Source of the orders, on the CPU.

    Example:
        >>> next(unlabelled_batches(torch.zeros(10, 4), 3, torch.Generator().manual_seed(0))).shape
        torch.Size([3])
    """
    if isinstance(rows, StreamedRows):
        return rows.batches(batch_size, generator)
    return batches(len(rows), batch_size, generator)
