import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.splitting.row_groups import group_numbers, hold_out_groups
from ulfine_cache.splitting.split_draw import draw_split

PROTOCOL = {"labelled_max": 4, "imbalance": 2.0, "unlabelled": "uniform"}


def cameras(n_classes=4, n_groups=12, per_class=36):
    labels = np.repeat(np.arange(n_classes), per_class)
    groups = [f"camera {row % n_groups}" for row in range(len(labels))]
    return labels, np.full(len(labels), ""), groups


def groups_of(groups, rows):
    return {groups[row] for row in rows}


def test_group_numbers__rows_without_a_group_are_alone():
    numbers = group_numbers(["b", "", "a", "b", ""])
    assert len(set(numbers.tolist())) == 4
    assert numbers[0] == numbers[3]
    assert group_numbers([]).tolist() == []
    assert group_numbers(["x", "x"]).tolist() == [0, 0]


@given(seed=st.integers(0, 10_000))
def test_draw_split__no_group_is_tested_and_fitted(seed):
    labels, sets, groups = cameras()
    split = draw_split(labels, sets, PROTOCOL | {"test_per_class": 6, "by_group": True, "seed": seed}, groups=groups)
    tested = groups_of(groups, split.test)
    assert tested
    assert not tested & groups_of(groups, split.labelled)
    assert not tested & groups_of(groups, split.unlabelled)
    assert np.bincount(labels[split.test], minlength=4).tolist() == [6, 6, 6, 6]
    assert split.protocol["by_group"] is True


def test_draw_split__a_test_set_of_its_own_takes_its_groups_along():
    labels, sets, groups = cameras()
    sets = np.where(np.arange(len(labels)) % 36 < 2, "test", sets)
    split = draw_split(labels, sets, PROTOCOL | {"by_group": True}, groups=groups)
    tested = groups_of(groups, split.test)
    assert tested == {"camera 0", "camera 1"}
    assert not tested & (groups_of(groups, split.labelled) | groups_of(groups, split.unlabelled))
    own = np.where(np.arange(len(labels)) % 36 > 20, -1, labels)
    rest = draw_split(own, sets, PROTOCOL | {"by_group": True, "unlabelled": "own"}, groups=groups)
    assert len(rest.unlabelled)
    assert not tested & groups_of(groups, rest.unlabelled)


def test_draw_split__as_before_without_by_group():
    labels, sets, groups = cameras()
    protocol = PROTOCOL | {"test_per_class": 6}
    with_groups, without = (draw_split(labels, sets, protocol, groups=given) for given in (groups, None))
    assert np.array_equal(with_groups.test, without.test)
    assert with_groups.protocol == without.protocol
    assert "by_group" not in without.protocol


def test_draw_split__by_group_needs_groups():
    labels, sets, _ = cameras()
    with pytest.raises(UsageError, match="by-group needs the groups"):
        draw_split(labels, sets, PROTOCOL | {"by_group": True})


def test_hold_out_groups__a_class_of_one_group_cannot_be_tested():
    pool = [np.array([0, 1, 2]), np.array([3, 4])]
    with pytest.raises(UlfineError, match="class 'birch' cannot be tested and labelled at once"):
        hold_out_groups(pool, 1, np.array([0, 1, 2, 0, 0]), 0, ["ash", "birch"])


def test_hold_out_groups__takes_no_more_than_are_needed():
    labels, _, groups = cameras()
    pool = [np.flatnonzero(labels == k) for k in range(4)]
    numbers = group_numbers(groups)
    # Each camera has three rows of each class.
    assert len(hold_out_groups(pool, 3, numbers, 0, list("abcd"))) == 1
    assert len(hold_out_groups(pool, 7, numbers, 0, list("abcd"))) == 3
