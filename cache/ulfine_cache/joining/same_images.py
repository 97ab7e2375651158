"""Matching the rows of caches that were made from the same images by different encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.store.shards import read_shard
from ulfine_cache.wording.counts import amount

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache


def rows_of_same_images(caches: Sequence[FeatureCache]) -> list[npt.NDArray[np.int64]]:
    """Find the rows of every cache in the order of the first one's.

    Images are the same by path and, where a cache was made from pictures, by the digest of their bytes. Imported
    features know no pictures: there the path, the label and the set have to be the same.

    Args:
        caches: At least two.

    Returns:
        int64 (n_rows,) for each.

    Raises:
        UlfineError: Paths, contents, labels, sets or classes differ; the line names the first.
    """
    first, *others = caches
    found = [np.arange(first.n_rows)]
    for cache in others:
        both = f"{first.path} and {cache.path}"
        if cache.class_names != first.class_names:
            raise UlfineError(f"{both} have other classes: make both with the same --classes")
        places = {path: row for row, path in enumerate(cache.paths)}
        if len(places) < cache.n_rows or len(set(first.paths)) < first.n_rows:
            raise UlfineError(f"{both} cannot be matched, since a path stands there twice: give images their own paths")
        missing = [path for path in first.paths if path not in places]
        if missing or cache.n_rows != first.n_rows:
            example = missing[0] if missing else next(path for path in cache.paths if path not in set(first.paths))
            raise UlfineError(
                f"{both} are not of the same images ({amount(first.n_rows, 'row')} and {cache.n_rows}; first of one "
                f"alone: {example}): make both from one source"
            )
        rows = np.array([places[path] for path in first.paths], np.int64)
        _check(first, cache, rows, both)
        found.append(rows)
    return found


def _check(first: FeatureCache, cache: FeatureCache, rows: npt.NDArray[np.int64], both: str) -> None:
    differing = {
        "label": first.labels != cache.labels[rows],
        "set": first.set_names != cache.set_names[rows],
    }
    if first.attributes["weights_hash"] and cache.attributes["weights_hash"]:
        differing["content"] = content_hashes(first) != content_hashes(cache)[rows]
    for what, where in differing.items():
        if where.any():
            path = first.paths[int(np.argmax(where))]
            raise UlfineError(f"{both} have another {what} for {path}: make both from one source as it is now")


def content_hashes(cache: FeatureCache) -> npt.NDArray[np.str_]:
    """The digests of the images of a cache, by row."""
    found = [digest for path in cache.shard_paths for digest in read_shard(path).hashes]
    return np.array(found)
