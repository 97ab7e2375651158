"""Rows that have something in common, such as a camera, a site or a batch, and splits that keep them together.

Pictures of one camera resemble one another in more than their class. A classifier that is judged on a camera that it
was fitted on looks better than it will be on the next one.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError

Rows = npt.NDArray[np.int64]


def group_numbers(groups: Sequence[str]) -> Rows:
    """Number the groups of rows; a row without one is a group of its own.

    Args:
        groups: n names, "" where nothing is said.

    Returns:
        int64 (n,), from 0 on.

    Example:
        >>> group_numbers(["north", "", "south", "north", ""]).tolist()
        [0, 2, 1, 0, 3]
    """
    names, numbers = np.unique(np.array(groups, dtype=np.str_), return_inverse=True)
    numbers = numbers.astype(np.int64)
    if len(names) and names[0] == "":
        alone = numbers == 0
        numbers -= 1
        numbers[alone] = len(names) - 1 + np.arange(int(alone.sum()))
    return numbers


def hold_out_groups(pool: Sequence[Rows], wanted: int, numbers: Rows, seed: int, names: Sequence[str]) -> Rows:
    """Choose whole groups to hold out until each class has so many rows in them, where it can.

    Groups are taken in random order. One is passed over where no class needs it any more, or where a class would be
    left without a row to label.

    Args:
        pool: Rows of each of the C classes.
        wanted: Rows of each class.
        numbers: int64 (n,), as `group_numbers` says.
        seed: Of the order.
        names: C names, for messages.

    Returns:
        int64 (G,), the numbers of the groups.

    Raises:
        UlfineError: A class would have no row in them.
    """
    classes = np.repeat(np.arange(len(pool)), [len(rows) for rows in pool])
    of_row = numbers[np.concatenate(pool)]
    groups, places = np.unique(of_row, return_inverse=True)
    counts = np.zeros((len(groups), len(pool)), dtype=np.int64)
    np.add.at(counts, (places, classes), 1)
    held, left = np.zeros(len(pool), dtype=np.int64), counts.sum(0)
    chosen: list[int] = []
    for place in np.random.default_rng((seed, 2)).permutation(len(groups)):
        of_group = counts[place]
        if ((of_group > 0) & (held < wanted)).any() and (left - of_group > 0)[of_group > 0].all():
            held, left = held + of_group, left - of_group
            chosen.append(int(groups[place]))
    if missing := [name for name, count in zip(names, held, strict=True) if not count]:
        raise UlfineError(
            f"class {missing[0]!r} cannot be tested and labelled at once without a group in both: add images of it "
            "from other groups, draw with another --seed, or leave out --by-group"
        )
    return np.array(sorted(chosen), dtype=np.int64)
