"""Which images are there twice: the same file, or nearly the same picture, above all on both sides of the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.stats import norm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split

FALSE = 1e-3
"""Rows whose nearest neighbour is taken for a duplicate though it is none, as a share of all rows."""
MOST_FALSE = 10
"""Such rows at the most, in a large collection."""
FLOOR = 1e-6
"""Distances (one less the cosine) below it are those of equal features: float16 says no more."""
NEIGHBOURS = 5
EXACT, NEAR = "exact", "near"


class Pair(NamedTuple):
    """Two rows that are duplicates: `first` is labelled before unlabelled before test, of equal ones the lower row."""

    first: int
    second: int
    similarity: float
    kind: str
    leak: bool


@dataclass(frozen=True)
class Threshold:
    """From which similarity on two images are taken for nearly the same.

    Attributes:
        similarity: The cosine in [-1, 1]; None where there are too few rows to tell.
        expected_false: Rows, on average, that reach it by chance, by the distribution it was estimated from.
        typical: The median similarity of nearest neighbours.
    """

    similarity: float | None
    expected_false: float
    typical: float | None


def estimate_threshold(similarities: NDArray[np.floating]) -> Threshold:
    """Estimate the threshold from what nearest neighbours are like.

    Distances of nearest neighbours that are no duplicates are taken for log-normal, with the median and the lower
    quartile of all nearest distances, which few duplicates hardly move. The threshold is where this distribution has a
    tail of `FALSE`, or of `MOST_FALSE` rows.

    Args:
        similarities: (n,), cosines to the nearest neighbour whose features are not the same.

    Example:
        >>> estimate_threshold(1 - np.exp(np.random.default_rng(0).normal(-1.5, 0.3, 1000))).similarity > 0.9
        True
    """
    distances = np.maximum(1 - np.asarray(similarities, np.float64), 0)
    distances = distances[distances > FLOOR]
    if len(distances) < 10:
        return Threshold(None, 0.0, None)
    logs = np.log(distances)
    middle, low = np.quantile(logs, [0.5, 0.25])
    spread = max((middle - low) / -float(norm.ppf(0.25)), 1e-3)
    share = min(FALSE, MOST_FALSE / len(distances))
    cut = float(np.exp(middle + norm.ppf(share) * spread))
    return Threshold(1 - cut, share * len(similarities), float(1 - np.exp(middle)))


def same_contents(hashes: Sequence[bytes] | NDArray[np.bytes_], rows: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Pairs of rows with one content hash: each row with the first of its kind.

    Args:
        hashes: Of every row of the cache; b"" where unknown.
        rows: int64 (n,), which rows are compared, in the order of their worth.
    """
    first: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []
    for row in rows.tolist():
        content = bytes(hashes[row])
        if not content:
            continue
        if content in first:
            pairs.append((first[content], row))
        else:
            first[content] = row
    return pairs


def leaking_rows(cache: FeatureCache, split: Split) -> NDArray[np.int64]:
    """Test rows whose file is also among the labelled or unlabelled rows, by content hash, int64 (n,), rising.

    Args:
        cache: An open cache.
        split: One of its splits.
    """
    if not len(split.test):
        return np.zeros(0, np.int64)
    hashes = row_hashes(cache)
    tested = np.sort(split.test)
    # There are few test rows and, at times, millions of others: those are looked up, never sorted or copied.
    known = np.unique(hashes[tested])
    trained = np.concatenate([split.labelled, split.unlabelled])
    places = np.minimum(np.searchsorted(known, hashes[trained]), len(known) - 1)
    there = np.zeros(len(known), dtype=bool)
    there[places[known[places] == hashes[trained]]] = True
    return tested[there[np.searchsorted(known, hashes[tested])] & (hashes[tested] != b"")].astype(np.int64)


def row_hashes(cache: FeatureCache) -> NDArray[np.bytes_]:
    """The content hash of every row, (n,); b"" where the cache has none."""
    from ulfine_cache.store.shards import read_hashes

    parts = [read_hashes(path)[0] for path in cache.shard_paths]
    return np.concatenate(parts) if parts else np.zeros(0, "S32")


def find_pairs(
    rows: NDArray[np.int64],
    test: NDArray[np.bool_],
    hashes: NDArray[np.bytes_],
    similarities: NDArray[np.float32],
    neighbours: NDArray[np.int64],
    threshold: Threshold,
) -> list[Pair]:
    """Pairs of duplicates, leaks first, then exact ones, then by similarity.

    Args:
        rows: int64 (n,), the rows that are compared, those for training first.
        test: bool (n,), whether each is for testing.
        hashes: Of every row of the cache.
        similarities: float32 (n, k), of the neighbours of each.
        neighbours: int64 (n, k), places among `rows`, -1 for none.
        threshold: From `estimate_threshold`.
    """
    of_test = dict(zip(rows.tolist(), test.tolist(), strict=True))
    place = {row: number for number, row in enumerate(rows.tolist())}
    found: dict[tuple[int, int], Pair] = {}

    def add(one: int, other: int, similarity: float, kind: str) -> None:
        first, second = sorted((one, other), key=place.__getitem__)
        pair = Pair(first, second, similarity, kind, of_test[first] != of_test[second])
        found.setdefault((first, second), pair)

    for one, other in same_contents(hashes, rows):
        add(one, other, 1.0, EXACT)
    cut = max(1 - FLOOR if threshold.similarity is None else threshold.similarity, -1.0)
    for number, column in np.argwhere((similarities >= cut) & (neighbours >= 0)).tolist():
        one, other = int(rows[number]), int(rows[neighbours[number, column]])
        kind = EXACT if hashes[one] and hashes[one] == hashes[other] else NEAR
        add(one, other, min(1.0, float(similarities[number, column])), kind)
    return sorted(found.values(), key=lambda pair: (not pair.leak, pair.kind != EXACT, -pair.similarity, pair))
