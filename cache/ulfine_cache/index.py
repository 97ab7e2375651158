"""The FAISS index over a cache's first view: cosine similarity, exact for small caches, HNSW above."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.atomic import replacing
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress
from ulfine_cache.shards import read_features

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache

INDEX_FILE = "image.faiss"
EXACT_ROWS = 200_000
"""Up to so many rows exact search answers in milliseconds and an approximate index only costs accuracy."""


def index_kind(index: str, n_rows: int) -> str:
    """Return FAISS's factory string for `--index`, or "none".

    Args:
        index: "auto", "none" or a factory string such as "IVF1024,Flat".
        n_rows: Rows to index.
    """
    if index != "auto":
        return index
    return "Flat" if n_rows <= EXACT_ROWS else "HNSW32"


def check_index(index: str, width: int) -> None:
    """Refuse an `--index` that FAISS does not know for features of `width` values, before any work is done.

    Raises:
        UsageError: It is not "auto", "none" or a factory string.
    """
    if index not in ("auto", "none"):
        _empty_index(index, width)


def build_index(features: npt.NDArray[np.float32], kind: str) -> Any:
    """Build an inner-product index.

    Args:
        features: float32 (n, D), unit norm.
        kind: FAISS factory string.

    Returns:
        A trained `faiss.Index` that holds all rows in order.

    Raises:
        UsageError: FAISS does not know the kind.
        UlfineError: There are too few rows to train it.
    """
    index = _empty_index(kind, features.shape[1])
    try:
        index.train(features)
        index.add(features)
    except RuntimeError as error:
        raise UlfineError(f"--index {kind} cannot be trained on {len(features)} rows: use --index auto") from error
    return index


def index_cache(cache: Path, shards: Sequence[Path], index: str, *, progress: Progress) -> str:
    """Index the first view of all shards and write `image.faiss` atomically, or remove it for "none".

    Args:
        cache: The cache directory.
        shards: Its shards in order.
        index: "auto", "none" or a factory string.
        progress: Receives a note.

    Returns:
        The kind that was built: a factory string or "none".

    Raises:
        UsageError: FAISS does not know the kind.
        UlfineError: There are too few rows to train it, or the directory cannot be written.
    """
    path = cache / INDEX_FILE
    if index == "none":
        path.unlink(missing_ok=True)
        return "none"
    import faiss

    features = np.concatenate([read_features(shard, 0).astype(np.float32) for shard in shards])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    kind = index_kind(index, len(features))
    built = build_index(features, kind)
    with replacing(path) as partial:
        faiss.write_index(built, str(partial))
    progress.note(f"index: {kind} over {len(features)} rows")
    return kind


def read_index(cache: "FeatureCache") -> Any:
    """Read the index of a cache.

    Raises:
        UlfineError: The cache has none, or it is damaged.
    """
    import faiss

    path = cache.path / INDEX_FILE
    if cache.attributes.get("index", "none") == "none" or not path.is_file():
        raise UlfineError(f"{cache.path} has no index: make the cache again with --index auto")
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise UlfineError(f"{path} is damaged: delete it and run the command that made the cache again") from error


def search(
    cache: "FeatureCache", queries: npt.NDArray[np.float32], k: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Find the rows nearest to each query.

    Args:
        cache: An open cache with an index.
        queries: float32 (q, D), unit norm.
        k: Neighbours per query, >= 1.

    Returns:
        Cosine similarities float32 (q, k) in [-1, 1], decreasing, and row indices int64 (q, k); -1 where the cache has
        fewer than k rows.

    Raises:
        UlfineError: The cache has no readable index, or the queries have another width.
    """
    index = read_index(cache)
    if queries.shape[1] != index.d:
        raise UlfineError(f"queries have {queries.shape[1]} values, {cache.path} has features of {index.d}")
    return index.search(np.ascontiguousarray(queries, np.float32), k)


def _empty_index(kind: str, width: int) -> Any:
    import faiss

    try:
        return faiss.index_factory(width, kind, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UsageError(
            f"--index {kind}: FAISS has no such index for {width} values; use auto, none or a factory string such as "
            "HNSW32 or IVF1024,Flat"
        ) from error
