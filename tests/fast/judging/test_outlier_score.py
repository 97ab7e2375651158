import numpy as np
import pytest
from scipy.special import logsumexp

from ulfine_fast.judging.outlier_score import OutlierScale, outlier_scores


def test_outlier_scores__is_the_energy_between_middle_and_threshold():
    logits = np.random.default_rng(0).normal(size=(50, 7)) * 10
    found = outlier_scores(logits, OutlierScale(-12.0, -8.0))
    assert found == pytest.approx((-logsumexp(logits, axis=1) + 12) / 4, abs=1e-5)
    assert found.dtype == np.float32


def test_outlier_scores__of_logits_that_overflow_in_exp_and_of_none():
    assert outlier_scores(np.array([[1000.0, 0.0]]), OutlierScale(-1000.0, -999.0)).tolist() == [0.0]
    assert outlier_scores(np.zeros((0, 3), np.float32), OutlierScale(0.0, 1.0)).shape == (0,)
