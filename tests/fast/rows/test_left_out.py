import numpy as np
import pytest
import torch
from scipy.special import softmax

from ulfine_fast.rows.left_out import LeftOut, together


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


def test_energies__the_mean_over_looks_less_the_offsets():
    logits = torch.as_tensor(np.random.default_rng(0).normal(size=(4, 3))).float()
    rows, offsets = torch.tensor([7, 2, 7, 3]), torch.tensor([0.0, 1.0, 2.0, 3.0])
    looks = -torch.logsumexp(logits, 1).numpy() - np.arange(4)
    expected = [looks[1], looks[3], (looks[0] + looks[2]) / 2]
    assert LeftOut(rows, logits, offsets=offsets).energies() == pytest.approx(expected, abs=1e-5)
    assert LeftOut(rows, logits).energies() == pytest.approx([e + o for e, o in zip(expected, (1, 3, 1), strict=True)])


def test_together__offsets_are_shared_as_logits_are():
    rows, logits = torch.tensor([0, 1]), torch.zeros(2, 3)
    one = LeftOut(rows, logits, offsets=torch.tensor([1.0, 2.0]))
    both = together([one, LeftOut(rows, logits, offsets=torch.tensor([5.0, 6.0]))], [0.75, 0.25])
    assert both is not None and both.offsets is not None
    assert both.offsets.tolist() == [2.0, 3.0]
    assert together([LeftOut(rows, logits)], [1.0]).offsets is None
