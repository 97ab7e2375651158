import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from ulfine_fast.judging.intervals import (
    design_effect,
    mean_recall_error,
    mean_recall_interval,
    share_interval,
    smoothed_recalls,
)


@pytest.mark.parametrize(("hits", "rows"), [(0, 3), (1, 1), (3, 3), (7, 9), (450, 500)])
def test_share_interval__is_wilson_s(hits, rows):
    expected = binomtest(hits, rows).proportion_ci(method="wilson")
    found = share_interval(hits / rows, rows)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert found["value"] == hits / rows


def test_share_interval__of_one_row_that_is_right_is_wide():
    assert share_interval(1.0, 1)["low"] < 0.21


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6))
def test_mean_recall_interval__holds_the_value_and_stays_within_0_and_1(rows):
    totals = np.array([right + wrong for right, wrong in rows])
    hits = np.array([right for right, _ in rows])
    if not totals.any():
        return
    value = float((hits[totals > 0] / totals[totals > 0]).mean())
    found = mean_recall_interval(value, hits, totals)
    assert 0 <= found["low"] <= value <= found["high"] <= 1
    assert found["high"] - found["low"] > 0
    assert ((smoothed_recalls(hits, totals) > 0) & (smoothed_recalls(hits, totals) < 1)).all()


def test_mean_recall_error__is_that_of_many_draws():
    generator = np.random.default_rng(0)
    recalls, totals = np.array([0.95, 0.8, 0.7]), np.array([60, 30, 20])
    draws = generator.binomial(totals, recalls, size=(4000, 3))
    errors = [mean_recall_error(hits, totals) for hits in draws]
    assert np.mean(errors) == pytest.approx((draws / totals).mean(1).std(), rel=0.1)


def test_mean_recall_error__classes_of_one_row_leave_more_open_than_frequent_ones():
    few = mean_recall_error(np.array([1, 1, 1]), np.array([1, 1, 1]))
    many = mean_recall_error(np.array([50, 50, 50]), np.array([50, 50, 50]))
    assert few > 5 * many > 0


def test_mean_recall_error__a_class_without_rows_counts_where_it_has_a_weight():
    hits, totals = np.array([9, 0]), np.array([10, 0])
    alone = mean_recall_error(hits, totals)
    assert mean_recall_error(hits, totals, np.array([1.0, 0.0])) == pytest.approx(alone)
    assert mean_recall_error(hits, totals, np.array([0.0, 1.0])) > 2 * alone


def test_design_effect__is_that_of_many_draws():
    """Of 30 groups of 20 rows, whose shares differ: the interval of 600 / effect rows holds the truth as it should."""
    generator = np.random.default_rng(0)
    groups, held = np.repeat(np.arange(30), 20), []
    for _ in range(400):
        shares = generator.beta(4, 2, size=30)
        right = generator.random(600) < shares[groups]
        found = share_interval(right.mean(), 600 / design_effect(right, groups))
        held.append(found["low"] <= 4 / 6 <= found["high"])
    assert 0.92 < np.mean(held) < 0.98


def test_design_effect__of_rows_that_are_not_alike_is_one():
    right = np.random.default_rng(0).random(5000) < 0.7
    assert design_effect(right, np.arange(5000)) == pytest.approx(1, abs=0.02)
    assert design_effect(right, None) == design_effect(right, np.zeros(5000)) == design_effect(right[:0], None) == 1


def test_mean_recall_error__rows_that_are_all_right_are_as_uncertain_as_those_of_any_class():
    hits, totals = np.array([2, 2, 20]), np.array([2, 2, 40])
    mean = 24.5 / 45
    rare = 2 * mean * (1 - mean) / 2
    assert mean_recall_error(hits, totals) >= np.sqrt(rare) / 3
