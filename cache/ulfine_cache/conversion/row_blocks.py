"""A cache's rows in blocks small enough to hold, in order, whatever its shard size."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.store.datasets import UNREADABLE, dataset, decode
from ulfine_cache.store.shards import damaged, numbers, open_shard
from ulfine_cache.store.versions import set_dataset

BLOCK_ROWS = 8192


class RowBlock(NamedTuple):
    """Some consecutive rows of a cache.

    Attributes:
        features: float16 (n, D), one view, unit norm.
        labels: int64 (n,), -1 = unlabelled.
        paths: n names relative to the source; names that are not UTF-8 hold surrogates ("surrogateescape").
        set_names: n times "", "train", "val" or "test".
    """

    features: npt.NDArray[np.float16]
    labels: npt.NDArray[np.int64]
    paths: Sequence[str]
    set_names: Sequence[str]


def row_blocks(
    cache: FeatureCache, view: int, *, pre_projection: bool = False, rows: int = BLOCK_ROWS
) -> Iterator[RowBlock]:
    """Read one view of all rows in blocks of at most `rows` that never cross the end of a shard.

    Args:
        cache: An open cache.
        view: Which view, 0 <= view < n_views.
        pre_projection: Give the features from before the encoder's projection, (n, D_pre).
        rows: Rows of a block, >= 1.

    Yields:
        Blocks with at least one row, in the order of the rows.

    Raises:
        UlfineError: A shard is missing or damaged.

    Example:
        >>> sum(len(block.features) for block in row_blocks(cache, 0)) == len(cache.labels)
        True
    """
    first = 0
    for path in cache.shard_paths:
        try:
            with open_shard(path) as file:
                if not dataset(file, "label").shape[0]:
                    continue  # a shard without rows has no dataset of features before the projection
                names = ("features_pre" if pre_projection else "features", "path", set_dataset(file))
                parts = [dataset(file, name) for name in names]
                for start in range(0, parts[0].shape[0], rows):
                    part = slice(start, start + rows)
                    features = numbers(parts[0][part, view], path)
                    labels = cache.labels[first : first + len(features)]
                    first += len(features)
                    yield RowBlock(features, labels, decode(parts[1][part]), decode(parts[2][part]))
        except UNREADABLE as error:
            raise damaged(path) from error
