"""The nearest neighbours of many rows among themselves, none left out; memory stays bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.progress import Progress

EXACT_ROWS = 20_000
"""Up to here every row is compared with every other; beyond, with those of the nearest lists of an index."""
_BLOCK = 4096
_PROBES = 16


def nearest_of_all(
    cache: FeatureCache, rows: NDArray[np.int64], k: int, progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The most similar other rows of each row, by the first view.

    Args:
        cache: An open cache.
        rows: int64 (n,), which of its rows.
        k: Neighbours of each, at least 1.
        progress: Told about the rows under "comparing".

    Returns:
        Cosine similarities float32 (n, k), decreasing, and places among `rows` int64 (n, k); -1 where there are fewer.
    """
    import faiss

    n_lists = int(4 * np.sqrt(len(rows)))
    exact = len(rows) <= EXACT_ROWS
    # Half floats, as the cache has them: an index of 200,000 rows of 512 numbers takes 200 MB.
    kind = "Flat" if exact else f"IVF{n_lists},SQfp16"
    index = faiss.index_factory(cache.n_features, kind, faiss.METRIC_INNER_PRODUCT)
    if not exact:
        from ulfine_fast.rows.sample_places import sample_places

        index.train(cache.features(rows[sample_places(len(rows), 40 * n_lists)]))
        faiss.ParameterSpace().set_index_parameter(index, "nprobe", _PROBES)
    starts = range(0, len(rows), _BLOCK)
    for start in starts:
        index.add(cache.features(rows[start : start + _BLOCK]))
    similarities = np.full((len(rows), k), -1, np.float32)
    found = np.full((len(rows), k), -1, np.int64)
    for start in starts:
        queries = cache.features(rows[start : start + _BLOCK])
        stop = start + len(queries)
        near, places = index.search(queries, k + 1)
        # Its own row goes to the end, the others stay in their order.
        own = places == np.arange(start, stop)[:, None]
        order = np.argsort(own, axis=1, kind="stable")[:, :k]
        near, places = np.take_along_axis(near, order, 1), np.take_along_axis(places, order, 1)
        gone = np.take_along_axis(own, order, 1) | (places < 0)
        similarities[start:stop] = np.where(gone, -1, near)
        found[start:stop] = np.where(gone, -1, places)
        progress.update("comparing", stop, len(rows))
    return similarities, found
