"""Draws a split by its protocol: which rows are labelled, unlabelled, for validation and for the test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.splitting.row_groups import group_numbers, hold_out_groups
from ulfine_cache.splitting.split_protocol import (
    Shape,
    SplitProtocol,
    arrange_counts,
    check_protocol,
    long_tailed_counts,
    protocol_values,
)
from ulfine_cache.wording.counts import amount

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Four disjoint, sorted sets of row indices (int64) of one cache.

    Attributes:
        name: The split's name; "" for the sets the cache came with.
        labelled: Rows whose label may be used.
        unlabelled: Rows whose label, where known, may not be used.
        val: Rows to choose between models with.
        test: Rows to judge with.
        protocol: The parameters it was drawn with, and under "drawn" what came out; empty for the cache's own sets.
    """

    name: str
    labelled: Rows
    unlabelled: Rows
    val: Rows
    test: Rows
    protocol: dict[str, Any]


def draw_split(
    labels: npt.NDArray[np.int64],
    set_names: npt.NDArray[np.str_],
    protocol: SplitProtocol | Mapping[str, Any],
    *,
    name: str = "",
    class_names: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> Split:
    """Draw a split; a pure function of its arguments.

    The pool are the rows of set "" and "train" whose label is known. Test rows are those of set "test"; where there are
    none, `test_per_class` rows of every class leave the pool first. Then every class gives its labelled rows, then its
    unlabelled ones. A class that has too few rows gives what it has; ``protocol["drawn"]["clipped"]`` names it.

    Where `unlabelled_max` is None it is the largest M at which fewer than one class in ten falls short of its
    unlabelled count: a few small classes do not decide for all others.

    With `labelled_fraction` f every class of n rows gives `round(n f)`, but at least one (halves to the even number, as
    in CoSSL's public code), and all of its other rows are unlabelled. With "own" the unlabelled rows are those of set
    "" and "train" that came without a label, whose classes nobody knows.

    With `by_group` no row shares a group with a test row: where test rows are held out, whole groups leave the pool.

    Args:
        labels: int64 (n,), -1 = unlabelled.
        set_names: (n,) of "", "train", "val", "test".
        protocol: The parameters; a mapping may be an earlier `Split.protocol` with, say, another seed.
        name: Name of the result.
        class_names: Names of the classes, for messages; their number is the number of classes.
        groups: n names of groups, "" where nothing is said; `by_group` needs them.

    Returns:
        The split. ``protocol["drawn"]`` holds labelled_counts, unlabelled_counts and test_counts (lists over classes),
        ranks (rank of each class, 0 = most frequent), unlabelled_max and clipped (class names). unlabelled_counts and
        unlabelled_max are None for "own".

    Raises:
        UsageError: The parameters contradict one another or the cache.
        UlfineError: A class would have no labelled row.
    """
    if not isinstance(protocol, SplitProtocol):
        known = SplitProtocol.model_fields
        protocol = SplitProtocol.checked(**{key: value for key, value in protocol.items() if key in known})
    n_classes = len(class_names) if class_names is not None else int(labels.max(initial=-1)) + 1
    names = list(class_names) if class_names is not None else [f"class {k}" for k in range(n_classes)]
    if n_classes < 2:
        raise UlfineError(f"a split needs at least two classes, the cache has {n_classes}")
    check_protocol(protocol)
    # One stream per purpose and class, so that a larger labelled_max or another shape extends the same draws.
    pool = _shuffled_pool(labels, set_names, n_classes, protocol.seed)
    numbers = None
    if protocol.by_group:
        if groups is None:
            raise UsageError("by-group needs the groups of the rows, of which nothing is known")
        numbers = group_numbers(groups)
    test = _test_rows(labels, set_names, pool, protocol, names, numbers)
    apart = np.ones(len(labels), dtype=np.bool_)
    if numbers is not None:
        apart = ~np.isin(numbers, numbers[test])
        pool = [rows[apart[rows]] for rows in pool]
    rank = _ranks(protocol, [len(rows) for rows in pool])
    counts = _labelled_counts(protocol, [len(pool[k]) for k in np.argsort(rank)])

    labelled = [pool[k][: counts[rank[k]]] for k in range(n_classes)]
    for k, rows in enumerate(labelled):
        if len(rows) == 0:
            raise UlfineError(f"class {names[k]!r} has no row left to label: add images of it or take it out")
    left = [pool[k][len(labelled[k]) :] for k in range(n_classes)]
    short = [len(labelled[k]) < counts[rank[k]] for k in range(n_classes)]
    if protocol.unlabelled == "own":
        own = _own_unlabelled(labels, set_names)
        unlabelled, unlabelled_counts, unlabelled_max = [own[apart[own]]], None, None
    else:
        unlabelled_max, wanted = _unlabelled_counts(protocol, [len(left[k]) for k in np.argsort(rank)])
        unlabelled = [left[k][: wanted[rank[k]]] for k in range(n_classes)]
        unlabelled_counts = [len(rows) for rows in unlabelled]
        short = [short[k] or unlabelled_counts[k] < wanted[rank[k]] for k in range(n_classes)]
    drawn = {
        "labelled_counts": [len(rows) for rows in labelled],
        "unlabelled_counts": unlabelled_counts,
        "test_counts": np.bincount(labels[test], minlength=n_classes).tolist(),
        "ranks": rank.tolist(),
        "unlabelled_max": unlabelled_max,
        "clipped": [name for name, is_short in zip(names, short, strict=True) if is_short],
    }
    return Split(
        name=name,
        labelled=_sorted(labelled),
        unlabelled=_sorted(unlabelled),
        val=np.flatnonzero((set_names == "val") & (labels >= 0)).astype(np.int64),
        test=test,
        protocol={**protocol_values(protocol), "drawn": drawn},
    )


def own_sets(labels: npt.NDArray[np.int64], set_names: npt.NDArray[np.str_]) -> Split:
    """Return the sets that a cache came with: what is labelled, what is not, and its val and test sets."""
    known, judged = labels >= 0, (set_names == "val") | (set_names == "test")
    sets = [known & ~judged, ~known & ~judged, known & (set_names == "val"), known & (set_names == "test")]
    return Split("", *(np.flatnonzero(rows).astype(np.int64) for rows in sets), protocol={})


def _ranks(protocol: SplitProtocol, pool: list[int]) -> Rows:
    """Return the rank of each class, 0 = most frequent, where the pool has so many rows of each."""
    if protocol.labelled_fraction is not None:
        return np.argsort(np.argsort([-count for count in pool], kind="stable"))
    if protocol.ranks == "class-index":
        return np.arange(len(pool))
    return np.random.default_rng((protocol.seed, 0)).permutation(len(pool))


def _labelled_counts(protocol: SplitProtocol, pool: list[int]) -> list[int]:
    """Return the wanted labelled count of each rank, where the pool has so many rows of each rank."""
    if protocol.labelled_fraction is not None:
        return [max(1, int(np.around(count * protocol.labelled_fraction))) for count in pool]
    assert protocol.labelled_max is not None and protocol.imbalance is not None
    return long_tailed_counts(protocol.labelled_max, protocol.imbalance, len(pool))


def _own_unlabelled(labels: npt.NDArray[np.int64], set_names: npt.NDArray[np.str_]) -> Rows:
    rows = own_sets(labels, set_names).unlabelled
    if not len(rows):
        raise UlfineError(
            "the cache has no rows without a label, which unlabelled own takes: cache the unlabelled images too, or "
            "choose another shape"
        )
    return rows


def _shuffled_pool(
    labels: npt.NDArray[np.int64], set_names: npt.NDArray[np.str_], n_classes: int, seed: int
) -> list[Rows]:
    in_pool = (set_names == "") | (set_names == "train")
    return [
        np.random.default_rng((seed, 1, k)).permutation(np.flatnonzero(in_pool & (labels == k))).astype(np.int64)
        for k in range(n_classes)
    ]


def _test_rows(
    labels: npt.NDArray[np.int64],
    set_names: npt.NDArray[np.str_],
    pool: list[Rows],
    protocol: SplitProtocol,
    names: list[str],
    numbers: Rows | None,
) -> Rows:
    """Return the test rows and take those that are held out off the front of `pool`'s classes."""
    own = np.flatnonzero((set_names == "test") & (labels >= 0)).astype(np.int64)
    held_out = protocol.test_per_class
    if held_out is None:
        return own
    if len(own):
        raise UsageError(f"the cache has a test set of its own ({amount(len(own), 'row')}): leave out test-per-class")
    smallest = min(range(len(pool)), key=lambda k: len(pool[k]))
    most = len(pool[smallest]) - 1
    if held_out > most:
        remedy = f"use a test-per-class of at most {most}" if most > 0 else "add images of it or take it out"
        raise UlfineError(
            f"class {names[smallest]!r} has {amount(most + 1, 'row')}, too few to hold out {held_out} for the test and "
            f"keep one to label: {remedy}"
        )
    if numbers is not None:
        held = np.isin(numbers, hold_out_groups(pool, held_out, numbers, protocol.seed, names))
        test = _sorted([rows[held[rows]][:held_out] for rows in pool])
        pool[:] = [rows[~held[rows]] for rows in pool]
        return test
    test = _sorted([rows[:held_out] for rows in pool])
    pool[:] = [rows[held_out:] for rows in pool]
    return test


def _unlabelled_counts(protocol: SplitProtocol, left: list[int]) -> tuple[int, list[int]]:
    """Return M and the wanted unlabelled count of each rank, where `left` rows remain of each rank."""
    if protocol.labelled_fraction is not None:
        return max(left), left
    gamma = protocol.imbalance if protocol.unlabelled_imbalance is None else protocol.unlabelled_imbalance
    assert gamma is not None
    shape = cast(Shape, protocol.unlabelled)

    def wanted(largest: int) -> list[int]:
        return arrange_counts(long_tailed_counts(largest, gamma, len(left)), shape)

    def fits(largest: int) -> bool:
        short = sum(count > rows for count, rows in zip(wanted(largest), left, strict=True))
        return 10 * short < len(left)

    if protocol.unlabelled_max is not None:
        return protocol.unlabelled_max, wanted(protocol.unlabelled_max)
    # fits() turns from true to false once as M grows, so bisection finds the largest M that fits.
    low, high = 0, max(left) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low, wanted(low)


def _sorted(rows: Sequence[Rows]) -> Rows:
    return np.sort(np.concatenate([np.empty(0, np.int64), *rows])).astype(np.int64)
