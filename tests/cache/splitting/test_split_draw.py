"""Draws by hand: what every row of a small cache becomes, and how many unlabelled rows there can be."""

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.splitting.split_draw import draw_split


def cache_of(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    return labels, np.full(len(labels), "train", dtype="U5")


def test_draw_split__a_seed_is_the_same_draw_for_ever():
    """Runs name their split by its protocol, so another version may not draw other rows from it."""
    labels, sets = cache_of([8, 8, 8])
    protocol = {"labelled_max": 3, "imbalance": 3.0, "unlabelled_max": 2, "test_per_class": 2, "seed": 11}
    split = draw_split(labels, sets, protocol)
    assert split.protocol["drawn"]["ranks"] == [1, 0, 2]
    assert split.labelled.tolist() == [6, 10, 12, 14, 21]
    assert split.unlabelled.tolist() == [7, 8, 11]
    assert split.test.tolist() == [0, 5, 9, 13, 17, 18]


def test_draw_split__the_cache_s_own_validation_and_test_rows_where_their_label_is_known():
    labels, sets = cache_of([10, 10])
    sets[[0, 1, 10]], sets[[2, 11, 12]] = "val", "test"
    labels[[1, 12]] = -1
    split = draw_split(labels, sets, {"labelled_max": 4, "imbalance": 2.0})
    assert split.val.tolist() == [0, 10]
    assert split.test.tolist() == [2, 11]
    assert split.protocol["drawn"]["test_counts"] == [1, 1]


@pytest.mark.parametrize("labels", [[], [-1, -1]])
def test_draw_split__of_a_cache_without_any_class(labels):
    with pytest.raises(UlfineError, match=r"needs at least two classes, the cache has 0$"):
        draw_split(np.array(labels, dtype=np.int64), np.array(["train"] * len(labels)), {"labelled_fraction": 0.5})


@pytest.mark.parametrize(
    ("rows", "labelled", "unlabelled_max", "unlabelled"), [(12, 10, 20, 2), (4, 4, 0, 0), (9, 9, 20, 0)]
)
def test_draw_split__names_a_class_that_is_short_of_labelled_or_of_unlabelled_rows(
    rows, labelled, unlabelled_max, unlabelled
):
    labels, sets = cache_of([50, 50, rows])
    protocol = {"labelled_max": 10, "imbalance": 1.0, "unlabelled_max": unlabelled_max}
    drawn = draw_split(labels, sets, protocol, class_names=["big", "large", "small"]).protocol["drawn"]
    assert drawn["labelled_counts"] == [10, 10, labelled]
    assert drawn["unlabelled_counts"] == [unlabelled_max, unlabelled_max, unlabelled]
    assert drawn["clipped"] == ["small"]


@pytest.mark.parametrize(
    ("counts", "largest"),
    [
        ([30] * 10, 25),
        ([10] + [30] * 9, 5),  # one class in ten would fall short: none may
        ([10] + [30] * 10, 25),  # one in eleven may
        ([10, 12] + [30] * 18, 7),
        ([10, 12] + [30] * 19, 25),
        ([5, 5], 0),
        ([6, 6], 1),
        ([7, 8], 2),
        ([8, 8], 3),
    ],
)
def test_draw_split__the_largest_unlabelled_count_of_which_fewer_than_one_class_in_ten_falls_short(counts, largest):
    labels, sets = cache_of(counts)
    drawn = draw_split(labels, sets, {"labelled_max": 5, "imbalance": 1.0}).protocol["drawn"]
    assert drawn["unlabelled_max"] == largest
    assert drawn["unlabelled_counts"] == [min(largest, rows - 5) for rows in counts]


def test_draw_split__of_a_fraction_the_largest_unlabelled_count_is_that_of_the_largest_class():
    labels, sets = cache_of([4, 10])
    drawn = draw_split(labels, sets, {"labelled_fraction": 0.3}).protocol["drawn"]
    assert drawn["labelled_counts"] == [1, 3]
    assert drawn["unlabelled_counts"] == [3, 7]
    assert (drawn["unlabelled_max"], drawn["ranks"], drawn["clipped"]) == (7, [1, 0], [])
