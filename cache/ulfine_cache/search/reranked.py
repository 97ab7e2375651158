"""Inverted lists of short codes, whose best candidates are compared again with their float16 features in the shards."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.search.exact_search import Found
from ulfine_cache.search.stored_rows import StoredRows

_BLOCK_ROWS = 16_384
"""Candidates that memory holds at a time."""


class Reranked:
    """A FAISS index of codes together with the rows that they stand for; it is searched as a `faiss.Index` is.

    Args:
        lists: A filled `faiss.IndexIVF` whose ids are the rows.
        rows: The same rows.
        candidates: Times k: how many of the best codes are compared again.

    Attributes:
        lists: As given.
        candidates: As given.
        d: Values D of a feature.
        ntotal: Rows.
    """

    def __init__(self, lists: Any, rows: StoredRows, candidates: int) -> None:
        self.lists, self.candidates, self._rows = lists, candidates, rows
        self.d, self.ntotal = int(lists.d), int(lists.ntotal)

    def search(self, queries: npt.NDArray[np.float32], k: int) -> Found:
        """Find the rows nearest to each query.

        Args:
            queries: float32 (q, D), unit norm.
            k: Neighbours per query, >= 1.

        Returns:
            Cosine similarities float32 (q, k), decreasing, and rows int64 (q, k); -inf and -1 where the lists that were
            searched hold fewer than k rows.

        Raises:
            UlfineError: A shard is missing or damaged.
        """
        wanted = max(k, min(self.candidates * k, self.ntotal))
        _, candidates = self.lists.search(queries, wanted)
        similarities = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        step = max(1, _BLOCK_ROWS // wanted)
        for start in range(0, len(queries), step):
            block = candidates[start : start + step]
            features = np.zeros((*block.shape, self.d), np.float16)
            features[block >= 0] = self._rows.read(block[block >= 0])
            for place, (query, own) in enumerate(zip(queries[start : start + step], block, strict=True)):
                # float16 leaves the norms off by up to 5e-4.
                vectors = features[place].astype(np.float32)
                lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
                cosines = np.where(own < 0, np.float32(-np.inf), vectors @ query / np.maximum(lengths, 1e-6))
                # The lower row first among equals, as exact search has it.
                best = np.lexsort((own, -cosines))[:k]
                similarities[start + place], rows[start + place] = cosines[best], own[best]
        return similarities, rows
