import numpy as np
import pytest
import torch

from ulfine_fast.priors.logit_adjustment import log_prior, logit_adjusted_cross_entropy, prior_range

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


def test_log_prior__of_problems_side_by_side():
    counts = torch.tensor([[[6, 3, 1], [1, 0, 0]], [[2, 2, 4], [5, 4, 1]]])
    found = log_prior(counts)
    assert found.shape == (2, 2, 3)
    for place in np.ndindex(2, 2):
        assert found[place].numpy() == pytest.approx(log_prior(counts[place]).numpy(), abs=1e-6)


def test_prior_range__of_each_problem():
    found = prior_range(torch.tensor([[[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]]]))
    assert {name: values.tolist() for name, values in found.items()} == {
        "prior_min": [pytest.approx([0.2, 0.1])],
        "prior_max": [pytest.approx([0.5, 0.8])],
    }


@pytest.mark.parametrize("weights", [None, [[1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 0.0], [0.0] * 4]])
def test_logit_adjusted_cross_entropy__of_models_side_by_side(weights):
    """Each of three models has its own logits, labels, prior and weights of rows; none that count give no loss."""
    generator = np.random.default_rng(0)
    logits, prior = generator.normal(size=(3, 4, 5)), generator.dirichlet(np.ones(5), size=3)
    labels = generator.integers(5, size=(3, 4))
    row_weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    found = logit_adjusted_cross_entropy(
        torch.tensor(logits), torch.tensor(labels), torch.tensor(prior).log()[:, None], 0.5, row_weights
    )
    each = np.array([[by_hand(logits[b, [n]], labels[b, [n]], prior[b], 0.5) for n in range(4)] for b in range(3)])
    counted = np.ones((3, 4)) if weights is None else np.array(weights)
    # Less than one row in all is not blown up to one.
    expected = (each * counted).sum(1) / np.maximum(counted.sum(1), 1.0)
    assert found.numpy() == pytest.approx(expected)


def test_logit_adjusted_cross_entropy__of_two_axes_of_models():
    generator = np.random.default_rng(0)
    logits, labels = generator.normal(size=(2, 3, 4, 5)), generator.integers(5, size=(2, 3, 4))
    prior, weights = np.full(5, 0.2), generator.integers(1, 3, size=(2, 3, 4)).astype(float)
    arguments = torch.tensor(logits), torch.tensor(labels), torch.tensor(prior).log()
    plain = logit_adjusted_cross_entropy(*arguments)
    weighted = logit_adjusted_cross_entropy(*arguments, 1.0, torch.tensor(weights))
    for place in np.ndindex(2, 3):
        each = [by_hand(logits[place][[n]], labels[place][[n]], prior, 1.0) for n in range(4)]
        assert float(plain[place]) == pytest.approx(np.mean(each))
        assert float(weighted[place]) == pytest.approx(np.average(each, weights=weights[place]))


def test_logit_adjusted_cross_entropy__weights_of_the_rows_of_one_model():
    logits, labels, prior = torch.tensor(LOGITS), torch.tensor(LABELS), torch.tensor([0.7, 0.2, 0.1]).double()
    weights = torch.tensor([2.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    found = logit_adjusted_cross_entropy(logits, labels, prior.log(), 1.0, weights)
    first, third = (by_hand(LOGITS[[n]], LABELS[[n]], prior.numpy(), 1.0) for n in (0, 2))
    assert float(found) == pytest.approx((2 * first + third) / 3)
