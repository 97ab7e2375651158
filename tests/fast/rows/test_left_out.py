import numpy as np
import pytest
import torch
from scipy.special import softmax

from ulfine_fast.rows.left_out import LeftOut


def test_averaged__the_mean_of_the_probabilities_of_each_row():
    logits = torch.as_tensor(np.random.default_rng(0).normal(size=(4, 3))).float()
    rows, probabilities = LeftOut(torch.tensor([7, 2, 7, 3]), logits).averaged()
    assert rows.tolist() == [2, 3, 7]
    looks = softmax(logits.numpy(), axis=1)
    assert probabilities == pytest.approx(np.stack([looks[1], looks[3], (looks[0] + looks[2]) / 2]), abs=1e-6)
    assert probabilities.dtype == np.float32


def test_averaged__of_no_row():
    rows, probabilities = LeftOut(torch.empty(0, dtype=torch.int64), torch.empty(0, 3)).averaged()
    assert (len(rows), probabilities.shape) == (0, (0, 3))
