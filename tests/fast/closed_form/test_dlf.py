"""Fusion against scipy's minimiser of the same posterior, written out."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp
from torch.autograd.functional import hessian as autograd_hessian
from torch.autograd.functional import jacobian

from ulfine_fast.closed_form.dlf import _most_probable, align, calibrate, fit_fusion_weights, fuse, noisy_losses


def task(seed=0, n=80, n_classes=4):
    """Two noisy parts of different scale, labels, weights of rows."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, n_classes, n)
    truth = np.eye(n_classes)[labels]
    noise = generator.normal(size=(2, n, n_classes))
    parts = np.stack([3.0 * (truth + noise[0]), 0.2 * (truth + 0.7 * noise[1])])
    return parts, labels, generator.uniform(0.2, 2.0, n)


def fitted(parts, labels, row_weights, spread=(1.0, 0.3)):
    arrays = (parts, labels, row_weights, np.array(spread))
    return fit_fusion_weights(*(torch.tensor(array) for array in arrays)).numpy()


def negative_posterior(logs, parts, labels, row_weights, expected, spread):
    """Weighted negative log-likelihood and half the squared, standardised logarithms."""
    logits = np.einsum("p,pnc->nc", np.exp(logs), parts)
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return row_weights @ losses + 0.5 * (((logs - np.log(expected)) / spread) ** 2).sum()


def best_weights(parts, labels, row_weights, expected, spread):
    arguments = (parts, labels, row_weights, np.asarray(expected), np.asarray(spread))
    options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
    return np.exp(minimize(negative_posterior, np.log(expected), arguments, "Nelder-Mead", options=options).x)


def test_fuse__each_part_alone_and_both():
    parts, *_ = task()
    for weights in ([1.0, 0.0], [0.0, 1.0], [0.3, 2.0]):
        expected = weights[0] * parts[0] + weights[1] * parts[1]
        assert fuse(torch.tensor(parts), torch.tensor(weights, dtype=torch.float64)).numpy() == pytest.approx(expected)


def test_align__each_part_alone_under_its_wide_prior():
    parts, labels, row_weights = task()
    found = align(*(torch.tensor(array) for array in (parts, labels, row_weights))).numpy()
    expected = [best_weights(part[None], labels, row_weights, [0.1], [2.0])[0] for part in parts]
    assert found == pytest.approx(expected, rel=1e-4)
    # The second part comes in units some fifteen times smaller.
    assert found[1] > 5 * found[0]


@pytest.mark.parametrize("spread", [(1.0, 0.3), (0.2, 2.0)])
def test_fit_fusion_weights__maximise_the_posterior(spread):
    parts, labels, row_weights = task()
    aligned = [best_weights(part[None], labels, row_weights, [0.1], [2.0])[0] for part in parts]
    best = best_weights(parts, labels, row_weights, np.array(aligned) / 2, spread)
    assert fitted(parts, labels, row_weights, spread) == pytest.approx(best, rel=1e-3)


def test_fit_fusion_weights__scale_of_a_part_does_not_matter_under_flat_priors():
    parts, labels, row_weights = task()
    flat = (1e6, 1e6)
    weights = fitted(parts, labels, row_weights, spread=flat)
    scaled = fitted(parts * np.array([10.0, 0.5])[:, None, None], labels, row_weights, spread=flat)
    assert scaled == pytest.approx(weights / np.array([10.0, 0.5]), rel=1e-3)


def test_fit_fusion_weights__without_evidence_what_is_expected_stays():
    parts, labels, row_weights = task()
    assert fitted(parts, labels, 0 * row_weights) == pytest.approx([0.05, 0.05])


def test_fit_fusion_weights__trust_the_part_that_knows():
    parts, labels, row_weights = task()
    parts[0] = np.random.default_rng(9).normal(size=parts[0].shape)
    spread = fitted(parts, labels, row_weights, (3.0, 3.0)) * parts.std(axis=(1, 2))
    assert spread[1] > 3 * spread[0]


def test_fit_fusion_weights__known_scales_are_not_looked_for_again():
    parts, labels, row_weights = (torch.tensor(array) for array in task())
    spread = torch.tensor([1.0, 0.3], dtype=torch.float64)
    scales = align(parts, labels, row_weights)
    found = fit_fusion_weights(parts, labels, row_weights, spread)
    assert torch.equal(found, fit_fusion_weights(parts, labels, row_weights, spread, scales))
    # Other scales are other expectations.
    assert not torch.allclose(found, fit_fusion_weights(parts, labels, row_weights, spread, 3 * scales), rtol=0.05)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_align__finds_its_way_from_far_off(scale):
    """Far from the maximum the posterior is not concave in the logarithm of the scale."""
    parts, labels, row_weights = task()
    parts, row_weights = scale * parts, 20 * row_weights
    found = align(*(torch.tensor(array) for array in (parts, labels, row_weights))).numpy()
    expected = [best_weights(part[None], labels, row_weights, [0.1], [2.0])[0] for part in parts]
    assert found == pytest.approx(expected, rel=1e-3)


def test_fit_fusion_weights__single_precision_and_offsets_of_rows_hardly_matter():
    parts, labels, row_weights = task()
    shifted = parts + 100 * np.random.default_rng(2).normal(size=(2, len(labels), 1))
    found = fitted(shifted.astype(np.float32), labels, row_weights)
    assert found == pytest.approx(fitted(parts, labels, row_weights), rel=1e-3)


def newton(parts, labels, row_weights, expected, spread, steps):
    """Newton's method in the logarithms of the weights with the derivatives that autograd finds.

    Without the part of the Hessian that bends downwards where the rest has not ten times less curvature; no weight
    changes more than e^2-fold in a step; a step is halved until it brings a ten-thousandth of what it promises.
    """
    parts, labels, row_weights = (torch.tensor(array) for array in (parts, labels, row_weights))
    expected, spread = torch.tensor(expected), torch.tensor(spread)

    def likelihood(u):
        logits = torch.einsum("p,pnc->nc", expected * u.exp(), parts)
        return (row_weights * torch.nn.functional.cross_entropy(logits, labels, reduction="none")).sum()

    def loss(u):
        return likelihood(u) + 0.5 * ((u / spread) ** 2).sum()

    u = torch.zeros(len(expected), dtype=torch.float64)
    for _ in range(steps):
        gradient, hessian = jacobian(loss, u), autograd_hessian(loss, u)
        convex = hessian - torch.diag(jacobian(likelihood, u))
        if torch.linalg.eigvalsh(hessian)[0] <= 0.1 * torch.linalg.eigvalsh(convex)[0]:
            hessian = convex
        step = -torch.linalg.solve(hessian, gradient)
        step = step * min(1.0, 2.0 / float(step.abs().max()))
        while loss(u + step) > loss(u) + 1e-4 * gradient @ step + 1e-7 * loss(u).abs():
            step = step / 2
        u = u + step
    return (expected * u.exp()).numpy()


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("scale", [1e-4, 0.03, 1.0, 30.0])
@pytest.mark.parametrize("spread", [(1.0, 0.3), (3.0, 5.0)])
def test_most_probable__takes_newton_s_steps(steps, scale, spread):
    """From expectations that are right and far off, where the posterior bends the wrong way."""
    parts, labels, row_weights = task()
    expected = np.array([0.3, 2.0]) * scale
    tensors = [torch.tensor(array) for array in (parts, labels, row_weights)]
    found = _most_probable(*tensors, expected, np.array(spread), max_iter=steps).numpy()
    assert found == pytest.approx(newton(parts, labels, row_weights, expected, spread, steps), rel=1e-3)


@pytest.mark.parametrize("silent", [0, 1])
def test_fit_fusion_weights__a_part_that_says_nothing_does_not_end_the_search_for_the_other(silent):
    """Its weight is right from the start; that of the other has a long way to go."""
    parts, labels, row_weights = task()
    parts[silent] = 0.0
    expected, spread = np.array([1e-3, 1e-3]), np.array([5.0, 5.0])
    tensors = [torch.tensor(array) for array in (parts, labels, row_weights)]
    found = _most_probable(*tensors, expected, spread).numpy()
    assert found == pytest.approx(best_weights(parts, labels, row_weights, expected, spread), rel=1e-3)
    assert found[silent] == pytest.approx(1e-3)


def sure_task(wrong, n=4000, n_classes=5):
    """Calibrated logits of labels that they nearly all foretell, a share of which is then drawn anew."""
    generator = np.random.default_rng(3)
    logits = 6.0 * np.eye(n_classes)[generator.integers(0, n_classes, n)] + generator.normal(size=(n, n_classes))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.array([generator.choice(n_classes, p=row) for row in p])
    other = generator.random(n) < wrong
    labels[other] = generator.integers(0, n_classes, other.sum())
    return torch.tensor(logits), torch.tensor(labels), torch.ones(n, dtype=torch.float64)


@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.3])
def test_calibrate__finds_the_factor_and_the_share_of_wrong_labels(wrong):
    logits, labels, row_weights = sure_task(wrong)
    factor, noise = calibrate(0.2 * logits, labels, row_weights)
    assert factor == pytest.approx(5.0, rel=0.25)
    assert noise == pytest.approx(wrong, abs=0.03)
    blind = float(_most_probable(0.2 * logits[None], labels, row_weights, np.array([1.0]), np.array([2.0])))
    assert (factor > 1.3 * blind) == (wrong > 0)


def test_calibrate__few_rows_that_surprise_are_no_evidence():
    logits, labels, row_weights = sure_task(0.0, n=20)
    labels[:2] = (logits[:2].argmax(1) + 1) % 5
    _, noise = calibrate(logits, labels, row_weights)
    assert noise == 0


def test_noisy_losses__written_out():
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([1, 0])
    p = torch.softmax(logits.double(), dim=1)
    expected = [-np.log(0.9 * float(p[0, 1]) + 0.05), -np.log(0.9 * 0.5 + 0.05)]
    assert noisy_losses(logits, labels, 0.1).tolist() == pytest.approx(expected)
    assert noisy_losses(logits, labels, 0.0).tolist() == pytest.approx([-np.log(float(p[0, 1])), np.log(2)])
