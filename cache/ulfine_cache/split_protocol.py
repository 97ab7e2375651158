"""The long-tailed split protocol: which rows are labelled, unlabelled, for validation and for the test.

The protocol, for C classes of rank k = 1..C (the common form of the long-tailed semi-supervised literature, as in
CReST, DASO and LoFT): labelled counts ``n_k = int(N * gamma^(-(k-1)/(C-1)))`` with ``n_C = int(N / gamma)``, and
unlabelled counts by the same rule with M and gamma_u, arranged along the ranks as `arrange_counts` says. Which class
has which rank is a seeded permutation. Labelled, unlabelled, validation and test rows are disjoint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError, UsageError

Shape = Literal["consistent", "uniform", "reversed", "middle", "head-tail"]
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


class SplitProtocol(StrictConfig):
    """How to draw a long-tailed split; the parameters of `make_split`."""

    labelled_max: int = Field(ge=1)
    imbalance: float = Field(ge=1, allow_inf_nan=False)
    unlabelled_max: int | None = Field(default=None, ge=0)
    unlabelled_imbalance: float | None = Field(default=None, ge=1, allow_inf_nan=False)
    unlabelled: Shape = "consistent"
    test_per_class: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)


def long_tailed_counts(n_max: int, imbalance: float, n_classes: int) -> list[int]:
    """Count the rows of each rank, the most frequent first.

    ``n_k = int(n_max * imbalance^(-(k-1)/(C-1)))`` for k = 1..C-1 and ``n_C = int(n_max / imbalance)``, the rule of the
    published CIFAR-LT protocols.

    Example:
        >>> long_tailed_counts(500, 100, 10)
        [500, 299, 179, 107, 64, 38, 23, 13, 8, 5]
    """
    if n_classes == 1:
        return [n_max]
    ranks = range(n_classes - 1)
    return [int(n_max * imbalance ** (-k / (n_classes - 1))) for k in ranks] + [int(n_max / imbalance)]


def arrange_counts(counts: Sequence[int], shape: Shape) -> list[int]:
    """Lay decreasing unlabelled counts along the labelled ranks.

    All shapes but "uniform" hold the same counts, so they cost the same number of images:
    "consistent" leaves them; "reversed" flips them; "middle" gives the largest to the ranks nearest to the middle
    ``(C + 1) / 2``, the next to those one further out, and so on (of two equally near ranks the lower first);
    "head-tail" gives the largest to the ranks furthest from the middle. "uniform" repeats the largest.

    Args:
        counts: Decreasing counts, as `long_tailed_counts` returns.
        shape: One of the five shapes.

    Example:
        >>> arrange_counts([5, 4, 3, 2, 1], "middle")
        [2, 4, 5, 3, 1]
        >>> arrange_counts([5, 4, 3, 2, 1], "head-tail")
        [5, 3, 1, 2, 4]
    """
    counts = list(counts)
    if shape == "consistent":
        return counts
    if shape == "uniform":
        return [counts[0]] * len(counts)
    if shape == "reversed":
        return counts[::-1]
    middle = (len(counts) - 1) / 2
    sign = 1 if shape == "middle" else -1
    nearest_first = sorted(range(len(counts)), key=lambda rank: (sign * abs(rank - middle), rank))
    arranged = [0] * len(counts)
    for rank, count in zip(nearest_first, counts, strict=True):
        arranged[rank] = count
    return arranged


def draw_split(
    labels: npt.NDArray[np.int64],
    set_names: npt.NDArray[np.str_],
    protocol: SplitProtocol | Mapping[str, Any],
    *,
    name: str = "",
    class_names: Sequence[str] | None = None,
) -> Split:
    """Draw a split; a pure function of its arguments.

    The pool are the rows of set "" and "train" whose label is known. Test rows are those of set "test"; where there are
    none, `test_per_class` rows of every class leave the pool first. Then every class gives its labelled rows, then its
    unlabelled ones. A class that has too few rows gives what it has; ``protocol["drawn"]["clipped"]`` names it.

    Where `unlabelled_max` is None it is the largest M at which fewer than one class in ten falls short of its
    unlabelled count: a few small classes do not decide for all others.

    Args:
        labels: int64 (n,), -1 = unlabelled.
        set_names: (n,) of "", "train", "val", "test".
        protocol: The parameters; a mapping may be an earlier `Split.protocol` with, say, another seed.
        name: Name of the result.
        class_names: Names of the classes, for messages; their number is the number of classes.

    Returns:
        The split. ``protocol["drawn"]`` holds labelled_counts, unlabelled_counts and test_counts (lists over classes),
        ranks (rank of each class, 0 = most frequent), unlabelled_max and clipped (class names).

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
    counts = long_tailed_counts(protocol.labelled_max, protocol.imbalance, n_classes)
    if counts[-1] < 1:
        raise UlfineError(
            f"labelled-max {protocol.labelled_max} with imbalance {protocol.imbalance:g} leaves the rarest class "
            f"without a labelled row: use labelled-max {int(np.ceil(protocol.imbalance))} or less imbalance"
        )
    # One stream per purpose and class, so that a larger labelled_max or another shape extends the same draws.
    rank = np.random.default_rng((protocol.seed, 0)).permutation(n_classes)
    pool = _shuffled_pool(labels, set_names, n_classes, protocol.seed)
    test = _test_rows(labels, set_names, pool, protocol, names)

    labelled = [pool[k][: counts[rank[k]]] for k in range(n_classes)]
    for k, rows in enumerate(labelled):
        if len(rows) == 0:
            raise UlfineError(f"class {names[k]!r} has no row left to label: add images of it or take it out")
    left = [pool[k][len(labelled[k]) :] for k in range(n_classes)]
    unlabelled_max, wanted = _unlabelled_counts(protocol, [len(left[k]) for k in np.argsort(rank)])
    unlabelled = [left[k][: wanted[rank[k]]] for k in range(n_classes)]

    clipped = [
        names[k] for k in range(n_classes) if len(labelled[k]) < counts[rank[k]] or len(unlabelled[k]) < wanted[rank[k]]
    ]
    drawn = {
        "labelled_counts": [len(rows) for rows in labelled],
        "unlabelled_counts": [len(rows) for rows in unlabelled],
        "test_counts": np.bincount(labels[test], minlength=n_classes).tolist(),
        "ranks": rank.tolist(),
        "unlabelled_max": unlabelled_max,
        "clipped": clipped,
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
) -> Rows:
    """Return the test rows and take those that are held out off the front of `pool`'s classes."""
    own = np.flatnonzero((set_names == "test") & (labels >= 0)).astype(np.int64)
    held_out = protocol.test_per_class
    if held_out is None:
        return own
    if len(own):
        raise UsageError(f"the cache has a test set of its own ({len(own)} rows): leave out test-per-class")
    for k, rows in enumerate(pool):
        if len(rows) <= held_out:
            raise UlfineError(
                f"class {names[k]!r} has {len(rows)} rows, too few to hold out {held_out} for the test: "
                "use a smaller test-per-class"
            )
    test = _sorted([rows[:held_out] for rows in pool])
    pool[:] = [rows[held_out:] for rows in pool]
    return test


def _unlabelled_counts(protocol: SplitProtocol, left: list[int]) -> tuple[int, list[int]]:
    """Return M and the wanted unlabelled count of each rank, where `left` rows remain of each rank."""
    if protocol.unlabelled == "uniform" and protocol.unlabelled_imbalance not in (None, 1.0):
        raise UsageError("unlabelled-imbalance has no meaning for uniform unlabelled rows: leave it out")
    gamma = protocol.imbalance if protocol.unlabelled_imbalance is None else protocol.unlabelled_imbalance

    def wanted(largest: int) -> list[int]:
        return arrange_counts(long_tailed_counts(largest, gamma, len(left)), protocol.unlabelled)

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


def protocol_values(protocol: SplitProtocol) -> dict[str, Any]:
    """Return the parameters as a JSON-able dict."""
    return {key: getattr(protocol, key) for key in SplitProtocol.model_fields}


def _sorted(rows: Sequence[Rows]) -> Rows:
    return np.sort(np.concatenate([np.empty(0, np.int64), *rows])).astype(np.int64)
