"""The FAISS index over a cache's first view: cosine similarity, exact for small caches, approximate above."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.atomic import replacing
from ulfine_cache.errors import UlfineError
from ulfine_cache.names.text_path import text_path
from ulfine_cache.progress import Progress
from ulfine_cache.search.exact_search import exact_search
from ulfine_cache.search.index_builder import IndexBuilder, empty_index
from ulfine_cache.search.index_choice import LARGEST_SHARE, auto_kind, exact_kind
from ulfine_cache.search.index_quality import GOAL, draw_sample
from ulfine_cache.search.mergeable import is_mergeable
from ulfine_cache.search.merged_index import build_merged
from ulfine_cache.search.merging import open_lists
from ulfine_cache.search.parts import read_faiss
from ulfine_cache.search.reranked import Reranked
from ulfine_cache.search.stored_rows import StoredRows
from ulfine_cache.store.digest_file import check_once
from ulfine_cache.store.layout import INDEX_FILE, INDEX_PARTS
from ulfine_cache.store.objects.copies import bring
from ulfine_cache.wording.counts import amount

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache


_MOST_NEIGHBOURS = 100
"""More neighbours are searched exactly: an approximate index is tuned for few, and finds fewer of the far ones."""


@dataclass(frozen=True)
class IndexReport:
    """What was built.

    Attributes:
        kind: FAISS factory string, or "none".
        request: What was asked for: "auto", "none" or a factory string.
        quality: recall_at_10 against exact search, ms_per_query and ms_per_query_batched; of approximate indices also
            sample_queries, nprobe or ef_search, exact_ms_per_query, exact_ms_per_query_batched, train_seconds and
            build_seconds.
    """

    kind: str
    request: str
    quality: dict[str, Any] = field(default_factory=dict)

    def attributes(self) -> dict[str, str]:
        """What `cache.h5` records of it."""
        quality = json.dumps(self.quality)
        return {"index": self.kind, "index_request": self.request, "index_quality": quality}


def check_index(index: str, width: int) -> None:
    """Refuse an `--index` that FAISS does not know for features of `width` values, before any work is done.

    Raises:
        UsageError: It is not "auto", "none" or a factory string.
    """
    if index not in ("auto", "none"):
        empty_index(index, width)


def has_index(cache: "FeatureCache", index: str) -> bool:
    """Whether the cache has what `--index` asks for, so that nothing need be built."""
    built = cache.attributes.get("index")
    if cache.attributes.get("index_request") != index or built is None:
        return False
    return built == "none" or (cache.path / INDEX_FILE).is_file()


def index_cache(cache: Path, shards: Sequence[Path], index: str, *, progress: Progress) -> IndexReport:
    """Index the first view of all shards and write `image.faiss` atomically, or remove it for "none".

    Shards are read one after the other; beside the index memory holds one of them and the rows that it is trained on.
    Inverted lists and HNSW graphs are tuned upwards until they reach a recall@10 of 0.97 on 1000 sample queries. Where
    "auto" cannot reach it with a fourth of the lists the index becomes an exact one.

    Args:
        cache: The cache directory.
        shards: Its shards in order.
        index: "auto", "none" or a factory string.
        progress: Receives the stage "indexing" in rows (an approximate index reads each twice), and notes.

    Returns:
        What was built and how good it is.

    Raises:
        UsageError: FAISS does not know the kind.
        UlfineError: There are too few rows to train it, a shard is damaged, or the directory cannot be written.
    """
    import faiss

    path = cache / INDEX_FILE
    if index == "none":
        path.unlink(missing_ok=True)
        shutil.rmtree(cache / INDEX_PARTS, ignore_errors=True)
        return IndexReport("none", index)
    builder = IndexBuilder(shards, progress)
    kind = auto_kind(builder.n_rows, builder.width) if index == "auto" else index
    if not is_mergeable(kind):
        shutil.rmtree(cache / INDEX_PARTS, ignore_errors=True)
    share = LARGEST_SHARE if index == "auto" else 1.0
    if kind == "Flat":
        built, quality = builder.build_exact()
    elif is_mergeable(kind):
        quality = build_merged(cache, shards, kind, share, progress=progress)
        if index == "auto" and quality["recall_at_10"] < GOAL:
            _tell_no_clusters(kind, quality, progress)
            path.unlink()
            return IndexReport("none", index)
        return _told(builder.n_rows, IndexReport(kind, index, quality), progress)
    else:
        sample = draw_sample(shards, builder.n_rows, progress=progress)
        built, quality = builder.build_tuned(kind, sample, share)
        if index == "auto" and quality["recall_at_10"] < GOAL:
            _tell_no_clusters(kind, quality, progress)
            del built
            kind = exact_kind(builder.n_rows, builder.width)
            built, quality = builder.build_tuned(kind, sample, 1.0)
    with replacing(path, goes_on=True) as partial, text_path(partial) as name:
        faiss.write_index(built, name)
    return _told(builder.n_rows, IndexReport(kind, index, quality), progress)


def read_index(cache: "FeatureCache") -> Any:
    """Open the index of a cache; where the system allows it, its vectors are read from the disk when they are needed.

    Raises:
        UlfineError: The cache has none, or it is damaged.
    """
    import faiss

    path = cache.path / INDEX_FILE
    bring(path)
    if cache.attributes.get("index", "none") == "none" or not path.is_file():
        raise UlfineError(f"{cache.path} has no index: make the cache again with --index auto")
    candidates = json.loads(cache.attributes.get("index_quality", "{}")).get("candidates")
    # Windows would not let a mapped file be replaced; FAISS has the flag since 1.11.
    mapped = 0 if sys.platform == "win32" else getattr(faiss, "IO_FLAG_MMAP_IFC", 0)
    try:
        # A damaged index may load and answer wrongly.
        check_once(path, cache.attributes.get("index_sha256"))
        if is_mergeable(cache.attributes["index"]):
            lists = open_lists(path)
            rows = StoredRows(cache.shard_paths, cache.shard_rows, cache.n_features)
            return Reranked(lists, rows, candidates) if candidates else lists
        return read_faiss(path, mapped)
    except (OSError, RuntimeError) as error:
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
        Cosine similarities float32 (q, k) in [-1, 1], decreasing, and row indices int64 (q, k); -inf and -1 where the
        cache has fewer than k rows.

    Raises:
        UlfineError: The cache has no readable index, or the queries have another width.
    """
    index = read_index(cache)
    if queries.shape[1] != index.d:
        raise UlfineError(f"queries have {amount(queries.shape[1], 'value')}, {cache.path} has features of {index.d}")
    queries = np.ascontiguousarray(queries, np.float32)
    approximate = cache.attributes["index"] != "Flat"
    if approximate and k > _MOST_NEIGHBOURS:
        return exact_search(cache.shard_paths, queries, k)
    similarities, rows = index.search(queries, k)
    # The lists that were searched may hold fewer than k rows where the cache does not.
    short = np.flatnonzero((rows < 0).any(axis=1))
    if approximate and len(short):
        similarities[short], rows[short] = exact_search(cache.shard_paths, queries[short], k)
    if len(rows) and (rows[:, 0] < 0).all():
        raise UlfineError(
            f"{cache.path / INDEX_FILE} finds nothing, as where features are NaN: `ulfine verify {cache.path}` names "
            "the files"
        )
    return np.where(rows < 0, np.float32(-np.inf), similarities), rows


def _told(n_rows: int, report: IndexReport, progress: Progress) -> IndexReport:
    progress.note(f"index: {report.kind} over {amount(n_rows, 'row')}{_in_words(report.quality)}")
    return report


def _tell_no_clusters(kind: str, quality: dict[str, Any], progress: Progress) -> None:
    progress.note(
        f"index: {kind} would find {quality['recall_at_10']:.3f} of the 10 nearest with a fourth of its lists, "
        "so every row is compared: the features have no clusters"
    )


def _in_words(quality: dict[str, Any]) -> str:
    words = f", recall@10 {quality['recall_at_10']:.3f}, {quality['ms_per_query']:.3g} ms a query"
    exact = quality.get("exact_ms_per_query")
    return words if exact is None else f"{words} (exact: {exact:.3g})"
