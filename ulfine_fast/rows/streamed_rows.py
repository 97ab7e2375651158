"""Rows that stay in the shards of their cache and are read block by block, for sets that memory does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ulfine_cache.store.datasets import CHUNK_ROWS
from ulfine_fast.rows.unit_length import unit_length

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
        columns: Which part of the features, of one encoder of several; it is brought to unit length by itself.

    Example:
        >>> unlabelled = StreamedRows(cache, cache.read_split("lt").unlabelled)
        >>> sum(len(block) for block in unlabelled.split(4096)) == len(unlabelled)
        True
    """

    def __init__(
        self,
        cache: FeatureCache,
        rows: NDArray[np.int64],
        device: str = "cpu",
        read_rows: int = READ_ROWS,
        columns: slice = slice(None),
    ) -> None:
        self._cache = cache
        self._columns = columns
        self._rows = rows
        self._read_rows = read_rows
        self.device = torch.device(device)
        self._windows: list[_Window] = []

    def __len__(self) -> int:
        """Number of rows, n."""
        return len(self._rows)

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """Rows by their numbers, int64 (k,) from 0 to n - 1 on any device: float32 (k, D), unit length."""
        if isinstance(rows, slice):
            rows = torch.arange(*rows.indices(len(self)))
        return self.view_of(rows, 0)

    def run_of(self, rows: slice) -> StreamedRows:
        """A run of the rows, as rows on the disk of their own."""
        return StreamedRows(self._cache, self._rows[rows], str(self.device), self._read_rows, self._columns)

    def part(self, columns: slice) -> StreamedRows:
        """The same rows by one encoder of several.

        Args:
            columns: Its place in the features.
        """
        return StreamedRows(self._cache, self._rows, str(self.device), self._read_rows, columns)

    def strong_views(self) -> StreamedViews:
        """The strong views of the rows, which stay on the disk too."""
        return StreamedViews(self, self._cache.n_views - 1)

    def view_of(self, rows: Tensor, view: int) -> Tensor:
        """One view of rows by their numbers, float32 (k, D), unit length; of a batch it costs no reading."""
        wanted = rows.cpu().numpy()
        for window in self._windows:
            place = window.places(wanted)
            if place is not None:
                if view not in window.views:
                    window.views[view] = self._read(window.rows, view)
                return window.views[view][torch.as_tensor(place, device=self.device)]
        return self._read(wanted, view)

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
        """Endless row numbers in chunk-shuffled order; `ulfine_fast.gradient.batches` has fully shuffled ones.

        Each pass takes the chunks of 256 rows in a new order, as many at a time as are read at once, and shuffles the
        rows within these: near rows of the cache meet more often than by chance, others as by chance. What is asked of
        a batch's rows before the next one is drawn comes from memory.

        Args:
            batch_size: Rows of a batch.
            generator: Source of the orders, on the CPU.

        Yields:
            int64 (batch_size,); rows left over at the end of a pass are left out, as others are at the end of the next.
        """
        size = max(1, self._read_rows // batch_size) * batch_size
        window = _Window()
        self._windows.append(window)
        while True:
            chunks = torch.randperm(-(-len(self) // CHUNK_ROWS), generator=generator)
            order = (chunks[:, None] * CHUNK_ROWS + torch.arange(CHUNK_ROWS)).flatten()
            order = order[order < len(self)]
            for start in range(0, len(order), size):
                rows = order[start : start + size]
                window.rows, window.views = rows.sort().values.numpy(), {}
                rows = rows[torch.randperm(len(rows), generator=generator)]
                for batch in rows.split(batch_size):
                    if len(batch) == batch_size or len(order) < batch_size:
                        yield batch

    def _read(self, rows: NDArray[np.int64], view: int = 0) -> Tensor:
        features = self._cache.features(self._rows[rows], view)[:, self._columns]
        return unit_length(features, "unlabelled features", str(self._cache.path), str(self.device), rows)


class _Window:
    """The rows that the next batches of one stream are drawn from, and their views as far as they were asked for."""

    def __init__(self) -> None:
        self.rows: NDArray[np.int64] = np.empty(0, np.int64)
        self.views: dict[int, Tensor] = {}

    def places(self, wanted: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Where in the window the wanted rows are; None where some are not in it."""
        if not len(self.rows):
            return None
        place = np.searchsorted(self.rows, wanted).clip(max=len(self.rows) - 1)
        return place if np.array_equal(self.rows[place], wanted) else None


class StreamedViews:
    """The strong views of `StreamedRows`, asked for like a tensor (n, K, D).

    Attributes:
        count: K.
        device: Where rows go.
    """

    def __init__(self, rows: StreamedRows, count: int) -> None:
        self._rows = rows
        self.count = count
        self.device = rows.device

    def __getitem__(self, chosen: tuple[Tensor, Tensor]) -> Tensor:
        """Of each row by its number the strong view, both int64 (k,): float32 (k, D), unit length."""
        rows, views = chosen
        parts = [self._rows.view_of(rows[views == view], 1 + view) for view in range(self.count)]
        order = torch.cat([(views == view).nonzero()[:, 0] for view in range(self.count)])
        return torch.cat(parts)[order.argsort().to(self.device)]
