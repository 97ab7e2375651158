"""Exact nearest neighbours of a cache's first view, computed from the shards one block after the other."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ulfine_cache.store.shards import read_features, read_header
from ulfine_cache.store.unit_norm import unit_norm

_BLOCK_ROWS = 8192

Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Cosine similarities float32 (q, k), decreasing, and rows int64 (q, k)."""


def unit_blocks(shards: Sequence[Path]) -> Iterator[npt.NDArray[np.float32]]:
    """Read the first view of all rows in order.

    Args:
        shards: Shards in the order of the rows, of any size.

    Yields:
        float32 (n, D) with 1 <= n <= 8192, unit norm.

    Raises:
        UlfineError: A shard is missing or damaged.
    """
    for shard in shards:
        features = read_features(shard, 0)
        for start in range(0, len(features), _BLOCK_ROWS):
            # float16 leaves the norms off by up to 5e-4.
            yield unit_norm(features[start : start + _BLOCK_ROWS].astype(np.float32))


def unit_rows(shards: Sequence[Path], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Read the first view of some rows.

    Args:
        shards: Shards in the order of the rows.
        rows: int64 (n,), increasing, each of them there.

    Returns:
        float32 (n, D), unit norm.

    Raises:
        UlfineError: A shard is missing or damaged.
    """
    parts, start = [], 0
    for shard in shards:
        end = start + read_header(shard).n_rows
        wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, end)]
        if len(wanted):
            parts.append(unit_norm(read_features(shard, 0)[wanted - start].astype(np.float32)))
        start = end
    return np.concatenate(parts)


def exact_search(shards: Sequence[Path], queries: npt.NDArray[np.float32], k: int) -> Found:
    """Compare queries with every row; memory holds one shard beside the result.

    Args:
        shards: Shards in the order of the rows.
        queries: float32 (q, D), unit norm.
        k: Neighbours per query, >= 1.

    Returns:
        Cosine similarities float32 (q, k), decreasing, and rows int64 (q, k); -inf and -1 beyond the last row.

    Raises:
        UlfineError: A shard is missing or damaged.

    Example:
        >>> similarities, rows = exact_search(cache.shard_paths, cache.features([3]), 10)
        >>> rows.shape, int(rows[0, 0])
        ((1, 10), 3)
    """
    search = ExactSearch(queries, k)
    for block in unit_blocks(shards):
        search.add(block)
    return search.found()


class ExactSearch:
    """The `k` best of all rows seen so far, for several queries.

    Args:
        queries: float32 (q, D), unit norm.
        k: Neighbours per query, >= 1.
    """

    def __init__(self, queries: npt.NDArray[np.float32], k: int) -> None:
        import faiss

        self._queries = np.ascontiguousarray(queries, np.float32)
        self._best = faiss.ResultHeap(len(queries), k, keep_max=True)
        self._k, self._seen = k, 0

    def add(self, block: npt.NDArray[np.float32]) -> None:
        """Compare with the next rows, float32 (n, D), unit norm, n >= 1."""
        import faiss

        k = min(self._k, len(block))
        similarities, rows = faiss.knn(self._queries, block, k, metric=faiss.METRIC_INNER_PRODUCT)
        self._best.add_result(similarities, rows + self._seen)
        self._seen += len(block)

    def found(self) -> Found:
        """Return the best, as `exact_search` does; call it once, after the last block."""
        self._best.finalize()
        similarities, rows = self._best.D, self._best.I
        return np.where(rows < 0, np.float32(-np.inf), similarities), rows


def without_row(found: Found, own: npt.NDArray[np.int64]) -> Found:
    """Take from each query's neighbours the row that it is itself, or the last neighbour where that was not found.

    Args:
        found: Similarities and rows (q, k), k >= 1.
        own: int64 (q,), the row that each query is.

    Returns:
        Similarities and rows (q, k - 1).
    """
    similarities, rows = found
    keep = rows != own[:, None]
    keep[keep.all(axis=1), -1] = False
    shape = (len(rows), rows.shape[1] - 1)
    return similarities[keep].reshape(shape), rows[keep].reshape(shape)
