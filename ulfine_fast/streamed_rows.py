"""Rows that stay in the shards of their cache and are read block by block, for sets that memory does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ulfine_cache.datasets import CHUNK_ROWS
from ulfine_fast.unit_length import unit_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache

READ_ROWS = 16384
"""Rows that are read at once."""


class StreamedRows:
    """Unlabelled rows on the disk that can be asked what a tensor of them can: length, rows by number, blocks in order.

    Every block is checked, brought to unit length and moved to the device when it is read, so that what comes out
    has the same bits as rows that were loaded all at once.

    Args:
        cache: An open cache.
        rows: int64 (n,), which of its rows, in rising order, so that a pass reads the shards one after the other.
        device: Where blocks go.
        read_rows: Rows that are read at once; memory holds two such blocks.

    Example:
        >>> unlabelled = StreamedRows(cache, cache.read_split("lt").unlabelled)
        >>> sum(len(block) for block in unlabelled.split(4096)) == len(unlabelled)
        True
    """

    def __init__(
        self, cache: FeatureCache, rows: NDArray[np.int64], device: str = "cpu", read_rows: int = READ_ROWS
    ) -> None:
        self._cache = cache
        self._rows = rows
        self._read_rows = read_rows
        self.device = torch.device(device)
        self._window = np.empty(0, np.int64)
        self._held: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Number of rows, n."""
        return len(self._rows)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Rows by their numbers, int64 (k,) from 0 to n - 1 on any device: float32 (k, D), unit length."""
        if isinstance(rows, slice):
            rows = torch.arange(*rows.indices(len(self)))
        return self.view_of(rows, 0)

    def view_of(self, rows: Tensor, view: int) -> Tensor:
        """One view of rows by their numbers, float32 (k, D), unit length; of a batch it costs no reading."""
        wanted = rows.cpu().numpy()
        place = np.searchsorted(self._window, wanted)
        if not len(self._window) or not np.array_equal(self._window[place.clip(max=len(self._window) - 1)], wanted):
            return self._read(wanted, view)
        if view not in self._held:
            self._held[view] = self._read(self._window, view)
        return self._held[view][torch.as_tensor(place, device=self.device)]

    def split(self, size: int) -> Iterator[Tensor]:
        """All rows in order, in blocks of `size` (the last may be smaller), as `Tensor.split` makes them.

        One block is read while another is used. Every shard is read once, but for the chunk where a block begins.
        """
        size = min(size, self._read_rows)
        step = self._read_rows // size * size
        starts = range(0, len(self), step)
        with ThreadPoolExecutor(1) as thread:
            read = lambda start: self._read(np.arange(start, min(start + step, len(self))))  # noqa: E731
            coming = thread.submit(read, 0)
            for start in starts:
                block = coming.result()
                if start + step < len(self):
                    coming = thread.submit(read, start + step)
                yield from block.split(size)

    def batches(self, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Endless row numbers in chunk-shuffled order, as `ulfine_fast.linear_head.batches` gives fully shuffled ones.

        Each pass takes the chunks of 256 rows in a new order, as many at a time as are read at once, and shuffles the
        rows within these: near rows of the cache meet more often than by chance, others as by chance. What is asked of
        a batch's rows before the next one is drawn comes from memory.

        Args:
            batch_size: Rows of a batch.
            generator: Source of the orders, on the CPU.

        Yields:
            int64 (batch_size,); rows left over at the end of a pass are left out, as others are at the end of the next.
        """
        window = max(1, self._read_rows // batch_size) * batch_size
        while True:
            chunks = torch.randperm(-(-len(self) // CHUNK_ROWS), generator=generator)
            order = (chunks[:, None] * CHUNK_ROWS + torch.arange(CHUNK_ROWS)).flatten()
            order = order[order < len(self)]
            for start in range(0, len(order), window):
                rows = order[start : start + window]
                self._window, self._held = rows.sort().values.numpy(), {}
                rows = rows[torch.randperm(len(rows), generator=generator)]
                for batch in rows.split(batch_size):
                    if len(batch) == batch_size or len(order) < batch_size:
                        yield batch

    def _read(self, rows: NDArray[np.int64], view: int = 0) -> Tensor:
        features = self._cache.features(self._rows[rows], view)
        return unit_length(features, "unlabelled features", str(self._cache.path), str(self.device), rows)
