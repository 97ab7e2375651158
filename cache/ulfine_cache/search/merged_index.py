"""Build an index of mergeable lists: parts, then one file, whose best candidates are compared again where they must be.

Memory holds the rows that the lists are trained on, or one part, or one list; never all of the codes, let alone the
rows.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ulfine_cache.atomic import replacing
from ulfine_cache.progress import Progress
from ulfine_cache.search.index_builder import IndexBuilder
from ulfine_cache.search.index_choice import CODE_CANDIDATES
from ulfine_cache.search.index_quality import draw_sample, time_queries, tune
from ulfine_cache.search.mergeable import has_short_codes
from ulfine_cache.search.merging import open_lists, write_head, write_merged
from ulfine_cache.search.parts import Parts
from ulfine_cache.search.reranked import Reranked
from ulfine_cache.search.stored_rows import StoredRows
from ulfine_cache.store.layout import INDEX_FILE, INDEX_PARTS


def build_merged(
    cache: Path, shards: Sequence[Path], kind: str, largest_share: float, *, progress: Progress
) -> dict[str, Any]:
    """Build `image.faiss` of a mergeable kind, tune it, and say how good it is.

    A part that an interrupted call completed is not built again.

    Args:
        cache: The cache directory.
        shards: Its shards in order.
        kind: FAISS factory string for which `is_mergeable` holds.
        largest_share: Share of the inverted lists that tuning does not go beyond, in (0, 1].
        progress: Receives the stage "indexing" in rows, each of which is read twice.

    Returns:
        The figures of `IndexReport.quality`; with candidates where the lists' codes do not rank by themselves.

    Raises:
        UlfineError: There are too few rows to train it, a shard is damaged, or the directory cannot be written.
    """
    builder = IndexBuilder(shards, progress)
    started = time.perf_counter()
    trained_at = started

    def train() -> Any:
        nonlocal trained_at
        index = builder.trained(kind)
        trained_at = time.perf_counter()
        return index

    parts = Parts(cache / INDEX_PARTS, shards, builder.counts, kind)
    parts.fill(train, progress, 0, 2 * builder.n_rows)
    filled = time.perf_counter()
    # After the parts, which a kill leaves.
    sample = draw_sample(shards, builder.n_rows, progress=progress, done_before=builder.n_rows)
    path = cache / INDEX_FILE
    with replacing(path, goes_on=True) as partial:
        trained = parts.trained()
        merging = time.perf_counter()
        write_merged(parts.paths, trained, partial)
        merged = time.perf_counter()
        index: Any = open_lists(partial)
        candidates: dict[str, int] = {}
        if has_short_codes(kind):
            candidates = {"candidates": CODE_CANDIDATES}
            index = Reranked(index, StoredRows(shards, builder.counts, builder.width), CODE_CANDIDATES)
        quality = tune(index, sample, largest_share)
        times = time_queries(index, sample.queries)
        trained.nprobe = quality["nprobe"]
        del index
        write_head(partial, trained)
    shutil.rmtree(cache / INDEX_PARTS, ignore_errors=True)
    return {
        **quality,
        **candidates,
        "sample_queries": len(sample.rows),
        **times,
        **sample.exact_ms,
        "parts": len(parts.paths),
        "train_seconds": round(trained_at - started, 2),
        "build_seconds": round(filled - started + merged - merging, 2),
    }
