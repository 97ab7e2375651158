"""Single rows of a column of images, out of Parquet or Arrow files."""

import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from typing import Any

from ulfine_cache.sources.tables.arrow_table import ArrowTable
from ulfine_cache.sources.tables.parquet_table import open_parquet

_BATCH_BYTES = 16 << 20
_KEPT_BYTES = 128 << 20


class ArrowRows:
    """Rows of a column of an Arrow file, which lies in memory as far as the system likes."""

    def __init__(self, table: ArrowTable, column: str) -> None:
        self._column = table.table.column(column)

    def row(self, number: int) -> Any:
        """Return a cell as Python has it."""
        return self._column[number].as_py()


class ParquetRows:
    """Rows of a column of a Parquet file, read forward in small batches of which the last are kept.

    Whoever reads rows about in their order reads the file once. A row far ahead or behind starts anew at its row group.

    Args:
        path: The file.
        column: Name of the column.
    """

    def __init__(self, path: str, column: str) -> None:
        self._path, self._column = path, column
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, Any]] = deque()
        self._batches: Iterator[tuple[int, Any]] = iter(())
        self._next = -1
        self._starts: list[int] = []

    def row(self, number: int) -> Any:
        """Return a cell as Python has it; threads wait for each other.

        Raises:
            OSError: The file cannot be read.
        """
        with self._lock:
            batch, first = self._batch(number)
            return batch.column(0)[number - first].as_py()

    def _batch(self, number: int) -> tuple[Any, int]:
        for first, batch in self._kept:
            if first <= number < first + len(batch):
                return batch, first
        if not self._starts or number < self._next or self._group(number) > self._group(self._next):
            self._restart(number)
        for first, batch in self._batches:
            self._next = first + len(batch)
            self._kept.append((first, batch))
            while len(self._kept) > 1 and sum(each.nbytes for _, each in self._kept) > _KEPT_BYTES:
                self._kept.popleft()
            if number < self._next:
                return batch, first
        raise OSError("the file ends in front of it")

    def _group(self, number: int) -> int:
        return bisect_right(self._starts, number) - 1

    def _restart(self, number: int) -> None:
        file = open_parquet(self._path)
        metadata = file.metadata
        self._starts = [0]
        for group in range(metadata.num_row_groups):
            self._starts.append(self._starts[-1] + metadata.row_group(group).num_rows)
        group = self._group(number)
        rows = max(1, metadata.num_rows)
        size = max(1, min(1024, _BATCH_BYTES * rows // max(1, os.stat(self._path).st_size)))  # noqa: PTH116
        groups = list(range(group, metadata.num_row_groups))
        batches = file.iter_batches(size, row_groups=groups, columns=[self._column])
        self._kept.clear()
        self._next = self._starts[group]
        self._batches = _numbered(batches, self._next)


def _numbered(batches: Iterator[Any], first: int) -> Iterator[tuple[int, Any]]:
    for batch in batches:
        yield first, batch
        first += len(batch)
