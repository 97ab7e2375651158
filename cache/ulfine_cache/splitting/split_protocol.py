"""The long-tailed split protocol: which rows are labelled, unlabelled, for validation and for the test.

The protocol, for C classes of rank k = 1..C (the common form of the long-tailed semi-supervised literature, as in
CReST, DASO and LoFT): labelled counts ``n_k = int(N * gamma^(-(k-1)/(C-1)))`` with ``n_C = int(N / gamma)``, and
unlabelled counts by the same rule with M and gamma_u, arranged along the ranks as `arrange_counts` says. Which class
has which rank is a seeded permutation, or the order of the classes. Labelled, unlabelled, validation and test rows are
disjoint.

Data sets that are long-tailed themselves need no counts: a fraction of every class is labelled and the rest is not.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.splitting.protocol_types import Fraction, Imbalance, Natural, Positive, Ranks, Shape, Unlabelled


class SplitProtocol(StrictConfig):
    """How to draw a long-tailed split; `ulfine_cache.splits.make_split` says what each value means.

    Either `labelled_max` and `imbalance` or `labelled_fraction` say how many rows are labelled.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    labelled_max: Positive | None = None
    imbalance: Imbalance | None = None
    labelled_fraction: Fraction | None = None
    unlabelled_max: Natural | None = None
    unlabelled_imbalance: Imbalance | None = None
    unlabelled: Unlabelled = "consistent"
    ranks: Ranks = "permutation"
    test_per_class: Positive | None = None
    by_group: bool = False
    seed: Natural = 0
    apply: Path | None = None
    """Kept with its digest, as `ulfine_cache.feature_cache.APPLIED`: the file may be another one by now."""


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


def check_protocol(protocol: SplitProtocol) -> None:
    """Refuse parameters that contradict one another.

    Raises:
        UsageError: They do, or it is not said how many rows are labelled.
        UlfineError: The rarest class would have no labelled row.
    """
    counted = protocol.labelled_max is not None or protocol.imbalance is not None
    if protocol.labelled_fraction is None:
        if protocol.labelled_max is None or protocol.imbalance is None:
            raise UsageError("say how many rows are labelled: labelled-max and imbalance, or labelled-fraction")
        if protocol.labelled_max / protocol.imbalance < 1:
            raise UlfineError(
                f"labelled-max {protocol.labelled_max} with imbalance {protocol.imbalance:g} leaves the rarest class "
                f"without a labelled row: use labelled-max {math.ceil(protocol.imbalance)} or less imbalance"
            )
    elif counted:
        raise UsageError("labelled-fraction keeps the classes' own imbalance: leave out labelled-max and imbalance")
    elif protocol.ranks != "permutation":
        raise UsageError("with labelled-fraction the classes' own sizes rank them: leave out ranks")
    unlabelled_counts = protocol.unlabelled_max is not None or protocol.unlabelled_imbalance is not None
    if protocol.unlabelled == "own" and unlabelled_counts:
        raise UsageError("unlabelled own takes all rows without a label: leave out unlabelled-max and -imbalance")
    if protocol.labelled_fraction is not None and protocol.unlabelled != "own":
        if protocol.unlabelled != "consistent" or unlabelled_counts:
            raise UsageError("with labelled-fraction all other rows are unlabelled: leave out the unlabelled options")
    elif protocol.unlabelled == "uniform" and protocol.unlabelled_imbalance not in (None, 1.0):
        raise UsageError("unlabelled-imbalance has no meaning for uniform unlabelled rows: leave it out")


def protocol_values(protocol: SplitProtocol) -> dict[str, Any]:
    """Return the parameters as a JSON-able dict; what is newer than other protocols only where it is asked for."""
    values = {key: getattr(protocol, key) for key in SplitProtocol.model_fields if key != "apply"}
    if not protocol.by_group:
        del values["by_group"]
    return values
