"""Against an enumeration by hand and scipy's own test."""

import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test

from ulfine_fast.bench.significance import holm, paired_permutation_test


@pytest.mark.parametrize("values", [[0.01, -0.02, 0.03, 0.0], [0.1, 0.1, 0.1, -0.1, 0.2], [0.0, 0.0], [0.5]])
def test_permutation__all_signs(values):
    sums = [
        sum(s * v for s, v in zip(signs, values, strict=True))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    expected = np.mean([abs(value) >= abs(sum(values)) - 1e-12 for value in sums])
    assert paired_permutation_test(np.array(values)) == pytest.approx(expected)


def test_permutation__agrees_with_scipy():
    differences = np.random.default_rng(1).normal(0.4, 1, 11)
    expected = permutation_test(
        (differences, np.zeros(11)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert paired_permutation_test(differences) == pytest.approx(expected)


def test_permutation__of_many_pairs_is_drawn_and_the_same_every_time():
    differences = np.random.default_rng(2).normal(0.3, 1, 40)
    found = paired_permutation_test(differences)
    assert found == paired_permutation_test(differences)
    # Nearly normal: the variance of the sum under turned signs is that of the squares.
    from scipy.stats import norm

    assert found == pytest.approx(2 * norm.sf(abs(differences.sum()) / np.sqrt((differences**2).sum())), abs=0.01)


def test_holm__steps_down_and_never_falls():
    assert holm([0.04, 0.001, 0.02, 0.9]) == pytest.approx([0.08, 0.004, 0.06, 0.9])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []
