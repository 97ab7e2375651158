import numpy as np
import pytest
import torch

from ulfine_fast.priors.logit_adjustment import log_prior, logit_adjusted_cross_entropy

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.3, 0.1], [-1.0, 1.0, 4.0], [0.2, 0.2, 0.2]])
LABELS = np.array([0, 2, 2, 1])


def by_hand(logits, labels, prior, tau):
    """Mean of -log(p_y e^z_y / sum_j p_j e^z_j) with the prior to the power tau."""
    weights = prior**tau * np.exp(logits)
    return -np.mean(np.log(weights[np.arange(len(labels)), labels] / weights.sum(1)))


def torch_loss(prior, tau, logits=LOGITS):
    return float(
        logit_adjusted_cross_entropy(torch.tensor(logits), torch.tensor(LABELS), torch.tensor(prior).log(), tau)
    )


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_logit_adjusted_cross_entropy__by_hand(tau):
    prior = np.array([0.7, 0.2, 0.1])
    assert torch_loss(prior, tau) == pytest.approx(by_hand(LOGITS, LABELS, prior, tau), rel=1e-12)


def test_logit_adjusted_cross_entropy__two_classes_written_out():
    # Equal logits, prior 3 to 1: the rare class costs log 4, the frequent one log(4/3).
    prior = torch.tensor([0.75, 0.25]).log()
    loss = [float(logit_adjusted_cross_entropy(torch.zeros(1, 2), torch.tensor([k]), prior)) for k in (0, 1)]
    assert loss == pytest.approx([np.log(4 / 3), np.log(4)], abs=1e-6)


def test_logit_adjusted_cross_entropy__tau_zero_and_uniform_prior_are_plain():
    plain = float(torch.nn.functional.cross_entropy(torch.tensor(LOGITS), torch.tensor(LABELS)))
    assert torch_loss(np.array([0.7, 0.2, 0.1]), 0.0) == pytest.approx(plain)
    # A uniform prior adds the same constant to every logit.
    assert torch_loss(np.full(3, 1 / 3), 1.0) == pytest.approx(plain)


def test_logit_adjusted_cross_entropy__rows_of_a_distribution():
    prior = np.array([0.7, 0.2, 0.1])
    soft = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0], [1 / 3, 1 / 3, 1 / 3]])
    adjusted = LOGITS + np.log(prior)
    log_p = adjusted - np.log(np.exp(adjusted).sum(1, keepdims=True))
    found = logit_adjusted_cross_entropy(torch.tensor(LOGITS), torch.tensor(soft), torch.tensor(prior).log())
    assert float(found) == pytest.approx(-(soft * log_p).sum(1).mean())


def test_logit_adjusted_cross_entropy__learns_unbiased_logits():
    # 90 rows of class 0 and 10 of class 1 that look the same: the best constant logits are equal, not 2.2 apart.
    labels = torch.tensor([0] * 90 + [1] * 10)
    prior = log_prior(torch.bincount(labels))
    bias = torch.zeros(2, requires_grad=True)
    logit_adjusted_cross_entropy(bias.expand(100, 2), labels, prior).backward()
    assert bias.grad == pytest.approx(torch.zeros(2), abs=1e-6)


def test_log_prior__counts_and_floor():
    assert log_prior(torch.tensor([6, 3, 1])).numpy() == pytest.approx(np.log([0.6, 0.3, 0.1]), abs=1e-6)
    # An empty class counts as half a row.
    assert log_prior(torch.tensor([4, 0])).numpy() == pytest.approx(np.log([4 / 4.5, 0.5 / 4.5]), abs=1e-6)
