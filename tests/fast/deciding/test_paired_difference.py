"""The interval of a paired difference: its values, what few rows leave open, and that it covers the truth."""

import numpy as np
import pytest

from ulfine_fast.deciding.paired_difference import paired_difference


def test_paired_difference__is_the_mean_of_the_recalls():
    strata = np.array([0, 0, 0, 0, 2])
    old, new = np.array([1, 1, 0, 0, 1], bool), np.array([1, 1, 1, 0, 0], bool)
    found = paired_difference(old, new, strata)
    assert found is not None
    assert (found.old, found.new) == pytest.approx((0.75, 0.375))
    assert found.low < found.difference < found.high
    assert found.figures()["difference"] == pytest.approx(-0.375)


def test_paired_difference__pairs_are_surer_than_two_samples():
    right = np.arange(200) % 2 == 0
    same = paired_difference(right, right, np.zeros(200, int))
    other = paired_difference(right, ~right, np.zeros(200, int))
    assert same is not None and other is not None
    assert same.difference == 0
    assert 0 < same.high < 0.02
    assert other.high > 0.1


def test_paired_difference__two_rows_prove_nothing():
    found = paired_difference(np.ones(2, bool), np.ones(2, bool), np.zeros(2, int))
    assert found is not None
    assert found.high > 0.3
    assert paired_difference(np.ones(0, bool), np.ones(0, bool), np.zeros(0, int)) is None


def test_paired_difference__covers_the_truth():
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        totals = generator.integers(3, 30, 12)
        changes = np.clip(generator.gamma(1, 0.1, 12), 0, 0.9)[:, None] * generator.dirichlet((2, 2), 12)
        strata = np.repeat(np.arange(12), totals)
        draws = generator.random(len(strata))
        won = draws < changes[strata, 0]
        lost = (draws >= changes[strata, 0]) & (draws < changes[strata].sum(1))
        found = paired_difference(~won, ~lost, strata)
        assert found is not None
        held += found.low <= (changes[:, 0] - changes[:, 1]).mean() <= found.high
    assert 0.92 < held / 400 < 0.98
