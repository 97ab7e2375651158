"""How good an approximate index is: recall against exact search on sample queries, and the time of a query.

The sample are rows of the cache; each is searched among all others, so that it does not find itself.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.progress import Progress
from ulfine_cache.search.exact_search import ExactSearch, Found, unit_blocks, unit_rows, without_row
from ulfine_cache.search.reranked import Reranked

NEIGHBOURS = 10
GOAL = 0.97
"""Recall@10 that tuning stops at: the promised 0.95 and a margin for queries that are not in the sample."""

_QUERIES = 1000
_SINGLE_QUERIES = 100
_MOST_EF_SEARCH = 1024
_ROUNDING = 1e-3
"""Divided by sqrt(D): similarities this close are equal. Rounding one vector to float16 moves them by a third of it."""


@dataclass(frozen=True)
class Sample:
    """Sample queries with their true neighbours.

    Attributes:
        rows: int64 (q,), the rows that are asked for.
        queries: float32 (q, D), unit norm.
        neighbours: Similarities float32 (q, k) and rows int64 (q, k) of the nearest others, by exact search.
        exact_ms: exact_ms_per_query, asked one at a time, and exact_ms_per_query_batched, of all q at once; without the
            time that reading takes.
    """

    rows: npt.NDArray[np.int64]
    queries: npt.NDArray[np.float32]
    neighbours: Found
    exact_ms: dict[str, float]


def draw_sample(shards: Sequence[Path], n_rows: int, *, progress: Progress, done_before: int = 0) -> Sample:
    """Draw the same rows whenever it is called for as many rows, and search their neighbours exactly.

    Args:
        shards: Shards in the order of the rows.
        n_rows: Rows in all of them, >= 1.
        progress: Receives the stage "indexing", of whose 2 `n_rows` steps this is a half.
        done_before: Steps before it.

    Raises:
        UlfineError: A shard is missing or damaged.
    """
    rows = np.sort(np.random.default_rng(0).choice(n_rows, min(_QUERIES, n_rows), replace=False))
    queries = unit_rows(shards, rows)
    k = min(NEIGHBOURS + 1, n_rows)
    batched, single = ExactSearch(queries, k), ExactSearch(queries[:1], k)
    seconds = {"single": 0.0, "batched": 0.0}
    done = 0
    for block in unit_blocks(shards):
        for name, search in (("batched", batched), ("single", single)):
            started = time.perf_counter()
            search.add(block)
            seconds[name] += time.perf_counter() - started
        done += len(block)
        progress.update("indexing", done_before + done, 2 * n_rows)
    exact_ms = {
        "exact_ms_per_query": round(1e3 * seconds["single"], 4),
        "exact_ms_per_query_batched": round(1e3 * seconds["batched"] / len(rows), 4),
    }
    return Sample(rows, queries, without_row(batched.found(), rows), exact_ms)


def recall(index: Any, sample: Sample) -> float:
    """Return the share of the true neighbours, or of their equals, among as many that the index finds.

    Args:
        index: A filled `faiss.Index` or `Reranked`.
        sample: Of the same rows.

    Returns:
        Recall in [0, 1], the mean over all queries.
    """
    true_similarities, true_rows = sample.neighbours
    if true_rows.shape[1] == 0:
        return 1.0
    found = index.search(sample.queries, true_rows.shape[1] + 1)
    similarities, rows = without_row(found, sample.rows)
    same = (rows[:, :, None] == true_rows[:, None, :]).any(axis=2)
    # Among duplicates any will do.
    tenth = true_similarities[:, -1:] - _ROUNDING / math.sqrt(index.d)
    as_near = (rows >= 0) & (similarities >= tenth)
    return float((same | as_near).mean())


def tune(index: Any, sample: Sample, largest_share: float = 1.0) -> dict[str, Any]:
    """Search as many lists, or as deep in the graph, as reaching `GOAL` takes; the index keeps the setting.

    Args:
        index: A filled `faiss.Index` or `Reranked`; of other kinds than inverted lists and HNSW the recall is only
            measured.
        sample: Of the same rows.
        largest_share: Share of the inverted lists that tuning does not go beyond, in (0, 1].

    Returns:
        recall_at_10 and, where it was tuned, nprobe or ef_search.
    """
    import faiss

    reached = 0.0
    setting: dict[str, int] = {}
    tuned = index.lists if isinstance(index, Reranked) else index
    for name, value in _settings(tuned, largest_share):
        faiss.ParameterSpace().set_index_parameter(tuned, name, value)
        reached = recall(index, sample)
        setting = {"ef_search" if name == "efSearch" else name: value}
        if reached >= GOAL:
            break
    return {"recall_at_10": round(reached if setting else recall(index, sample), 4), **setting}


def time_queries(index: Any, queries: npt.NDArray[np.float32]) -> dict[str, float]:
    """Measure how long the 10 nearest take.

    Args:
        index: A filled `faiss.Index`.
        queries: float32 (q, D), q >= 1.

    Returns:
        ms_per_query, the median of up to 100 that are asked one at a time, and ms_per_query_batched, of all at once.
    """
    singles = []
    for query in queries[:_SINGLE_QUERIES]:
        started = time.perf_counter()
        index.search(query[None], NEIGHBOURS)
        singles.append(time.perf_counter() - started)
    started = time.perf_counter()
    index.search(queries, NEIGHBOURS)
    batched = (time.perf_counter() - started) / len(queries)
    return {
        "ms_per_query": round(1e3 * float(np.median(singles)), 4),
        "ms_per_query_batched": round(1e3 * batched, 4),
    }


def _settings(index: Any, largest_share: float) -> Iterator[tuple[str, int]]:
    import faiss

    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        name, most = "nprobe", max(1, int(largest_share * lists.nlist))
    elif hasattr(index, "hnsw"):
        name, most = "efSearch", _MOST_EF_SEARCH
    else:
        return
    # Steps of the square root of 2: a coarser one would search up to twice as much as needed.
    steps = (round(2 ** (step / 2)) for step in range(64))
    yield from ((name, value) for value in dict.fromkeys(min(step, most) for step in steps))
