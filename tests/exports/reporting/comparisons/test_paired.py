"""Paired differences, against scipy's paired t-test."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from ulfine_exports.reporting.comparisons.comparison import Spread
from ulfine_exports.reporting.comparisons.paired import paired, standard_error


def test_paired__against_scipy():
    one, other = np.random.default_rng(4).random((2, 6))
    found = paired(Spread(per_seed=one.tolist()), Spread(per_seed=other.tolist()))
    assert found.mean / found.stderr == pytest.approx(ttest_rel(one, other).statistic)
    assert found.each == pytest.approx((one - other).tolist())


def test_paired__draws_without_a_value_are_left_out():
    found = paired(Spread(per_seed=[0.5, None, 0.7]), Spread(per_seed=[0.4, 0.4, None]))
    assert (found.each[1:], found.stderr) == ([None, None], None)
    assert found.mean == pytest.approx(0.1)
    assert paired(Spread(per_seed=[None]), Spread(per_seed=[1.0])).mean is None
    assert standard_error(Spread(per_seed=[0.5, None])) is None
