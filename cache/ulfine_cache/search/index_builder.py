"""Build a FAISS index from shards, one after the other; the same rows give the same bytes with as many threads."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress
from ulfine_cache.search.exact_search import unit_blocks, unit_rows
from ulfine_cache.search.index_choice import CANDIDATES
from ulfine_cache.search.index_quality import Sample, time_queries, tune
from ulfine_cache.search.quiet_training import quiet_training
from ulfine_cache.store.shards import read_header
from ulfine_cache.wording.counts import amount

_TRAINING_ROWS = 64
"""Rows per inverted list that its centroids are trained on; FAISS asks for at least 39."""
_LEAST_TRAINING_ROWS = 16_384
_TIMED_QUERIES = 20


class IndexBuilder:
    """Builds indices of the first view of some shards.

    Beside the index memory holds one shard and, while it is trained, the rows for that.

    Args:
        shards: Shards in the order of the rows, at least one.
        progress: Receives the stage "indexing" in rows.

    Attributes:
        counts: Rows in each shard.
        n_rows: Rows in all shards.
        width: Values D of a feature.
    """

    def __init__(self, shards: Sequence[Path], progress: Progress) -> None:
        headers = [read_header(shard) for shard in shards]
        self.counts = [header.n_rows for header in headers]
        self.n_rows = sum(self.counts)
        self.width = headers[0].n_features
        self._shards, self._progress = shards, progress

    def build_exact(self) -> tuple[Any, dict[str, Any]]:
        """Build an index that compares with every row, and time it."""
        index = empty_index("Flat", self.width)
        self._fill(index, "Flat", done_before=0)
        some = index.reconstruct_n(0, min(_TIMED_QUERIES, self.n_rows))
        return index, {"recall_at_10": 1.0, **time_queries(index, some)}

    def build_tuned(self, kind: str, sample: Sample, largest_share: float) -> tuple[Any, dict[str, Any]]:
        """Build an index that is approximate, tune it, and say how good it is."""
        started = time.perf_counter()
        index = self.trained(kind)
        trained = time.perf_counter()
        self._fill(index, kind, done_before=self.n_rows)
        built = time.perf_counter()
        quality = tune(index, sample, largest_share)
        return index, {
            **quality,
            "sample_queries": len(sample.rows),
            **time_queries(index, sample.queries),
            **sample.exact_ms,
            "train_seconds": round(trained - started, 2),
            "build_seconds": round(built - started, 2),
        }

    def trained(self, kind: str) -> Any:
        """Train an empty index on a sample that is the same for as many rows, so that it has the same bytes again.

        Raises:
            UsageError: FAISS does not know the kind.
            UlfineError: There are too few rows, or a shard is damaged.
        """
        import faiss

        index = empty_index(kind, self.width)
        if index.is_trained:
            return index
        lists = faiss.try_extract_index_ivf(index)
        wanted = _LEAST_TRAINING_ROWS if lists is None else max(_LEAST_TRAINING_ROWS, _TRAINING_ROWS * lists.nlist)
        rows = np.random.default_rng(1).choice(self.n_rows, min(wanted, self.n_rows), replace=False)
        try:
            with quiet_training(index):
                index.train(unit_rows(self._shards, np.sort(rows)))
        except RuntimeError as error:
            raise UlfineError(
                f"--index {kind} cannot be trained on {amount(self.n_rows, 'row')}: use --index auto"
            ) from error
        return index

    def _fill(self, index: Any, kind: str, done_before: int) -> None:
        for block in unit_blocks(self._shards):
            try:
                index.add(block)
            except RuntimeError as error:
                raise UsageError(
                    f"--index {kind}: FAISS cannot add plain rows to such an index, use --index auto"
                ) from error
            self._progress.update("indexing", done_before + index.ntotal, done_before + self.n_rows)


def empty_index(kind: str, width: int) -> Any:
    """Return an index without rows.

    Args:
        kind: FAISS factory string.
        width: Values D of a feature.

    Raises:
        UsageError: FAISS does not know the kind.
    """
    import faiss

    try:
        index = faiss.index_factory(width, kind, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UsageError(
            f"--index {kind}: FAISS has no such index for {amount(width, 'value')}; use auto, none or a factory "
            "string such as HNSW32 or IVF1024,Flat"
        ) from error
    if isinstance(index, faiss.IndexRefine):
        index.k_factor = CANDIDATES
    return index
