"""DLF: several logits of the same rows, brought to one scale and added.

Published (arXiv 2505.05062): the similarity to fitted text prototypes and a probe's logits complement each other;
aligned in scale and fused, they serve pseudo-labels and predictions. How to align and to weigh them is this project's
decision: one positive weight for each, chosen to give the best class-balanced likelihood on labelled rows that the fit
had not seen. The same weights calibrate, since they also set the temperature.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import ThreadpoolController
from torch import Tensor

EVIDENCE = 2.0
"""Nats by which wrong labels must raise the likelihood before any are taken for wrong: few rows that surprise are no
evidence."""
MOST_NOISE = 0.5
WIDE = 2.0
"""Standard deviation of the logarithm of a scale that is all but free."""


def fuse(parts: Tensor, weights: Tensor) -> Tensor:
    """`sum_p w_p z_p`.

    Args:
        parts: float (P, N, C) logits.
        weights: float (P,), positive.

    Returns:
        float (N, C), of the parts' dtype.
    """
    return torch.tensordot(weights.to(parts), parts, 1)


def align(parts: Tensor, labels: Tensor, row_weights: Tensor) -> Tensor:
    """The scale at which each part alone is calibrated: the common unit in which parts can be added.

    Args:
        parts: float (P, N, C), logits of rows that the parts were not fitted on.
        labels: int64 (N,).
        row_weights: float64 (N,), evidence of each row.

    Returns:
        float64 (P,), positive: the inverse temperature with the greatest likelihood, under a wide prior around 0.1.
    """
    around, wide = np.array([0.1]), np.array([WIDE])
    scales = [_most_probable(part[None], labels, row_weights, around, wide) for part in parts]
    return torch.cat(scales)


def calibrate(logits: Tensor, labels: Tensor, row_weights: Tensor) -> tuple[float, float]:
    """The factor on logits with the greatest likelihood, and the share of wrong labels that this takes.

    A label is right with `1 - e` and else any class with the same probability, so that its likelihood is
    `(1 - e) p_y + e / C` (symmetric noise; Angluin and Laird, Learning from noisy examples, 1988). Without `e` a tenth
    of wrong labels makes all probabilities a tenth too low. It is 0 unless it raises the likelihood by `EVIDENCE`.

    Args:
        logits: float (N, C), of rows that they were not fitted on.
        labels: int64 (N,).
        row_weights: float64 (N,), evidence of each row.

    Returns:
        The factor, under the prior of `align` around 1, and `e`, at most `MOST_NOISE`.
    """
    # In numpy, because it is called for a hundred points and its arrays are small.
    over_label = (logits - logits.gather(1, labels[:, None])).double().cpu().numpy()
    weights, n_classes = row_weights.cpu().numpy(), logits.shape[1]
    highest = over_label.max(1)
    below = over_label - highest[:, None]

    def loss(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_factor, noise = point
        factor = np.exp(log_factor)
        terms = np.exp(factor * below)
        sums = terms.sum(1)
        of_label = np.exp(-factor * highest) / sums
        mean = np.einsum("nc,nc->n", terms, over_label) / sums
        likelihood = np.maximum((1 - noise) * of_label + noise / n_classes, np.finfo(np.float64).tiny)
        of_factor = weights * (1 - noise) * of_label / likelihood * factor * mean
        of_noise = weights * (of_label - 1 / n_classes) / likelihood
        value = -(weights * np.log(likelihood)).sum() + 0.5 * (log_factor / WIDE) ** 2
        return float(value), np.array([of_factor.sum() + log_factor / WIDE**2, of_noise.sum()])

    without = float(_most_probable(logits[None], labels, row_weights, np.array([1.0]), np.array([WIDE])).log())
    best, noise = loss(np.array([without, 0.0]))[0] - EVIDENCE, 0.0
    log_factor = without
    bounds = [(without - 3, without + 3), (1e-4, MOST_NOISE)]
    with _threads().limit(limits=1, user_api="blas"):
        for start in ((without, 0.05), (without + 0.7, 0.2)):
            found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 50})
            if found.fun < best:
                best, (log_factor, noise) = found.fun, map(float, found.x)
    return float(np.exp(log_factor)), noise


@cache
def _threads() -> ThreadpoolController:
    """The threads of scipy's BLAS. For two unknowns it wakes all of them, and these then keep torch's waiting.

    On two cores a fit on 400 rows took twice as long.
    """
    return ThreadpoolController()


def noisy_losses(logits: Tensor, labels: Tensor, noise: float) -> Tensor:
    """`-log((1 - e) p_y + e / C)`, float64 (N,), of float (N, C) logits; see `calibrate`."""
    log_p = torch.log_softmax(logits.double(), dim=-1).gather(1, labels[:, None])[:, 0]
    if not noise:
        return -log_p
    right, wrong = np.log1p(-noise), np.log(noise / logits.shape[1])
    return -torch.logaddexp(log_p + right, torch.full_like(log_p, wrong))


def fit_fusion_weights(
    parts: Tensor, labels: Tensor, row_weights: Tensor, prior_std: Tensor, aligned: Tensor | None = None
) -> Tensor:
    """The most probable weights given held-out logits.

    Parts are first brought to one scale by `align`. Beforehand they are expected to weigh the same, `1 / P` each, and
    `prior_std` says how far from there the labels may move each weight.

    Args:
        parts: float (P, N, C), logits of rows that the parts were not fitted on.
        labels: int64 (N,).
        row_weights: float64 (N,), evidence of each row, see `ulfine_fast.rows.folds.balanced_weights`.
        prior_std: float64 (P,): standard deviations of the weights' logarithms.
        aligned: `align(parts, labels, row_weights)` where it is known already.

    Returns:
        float64 (P,), the weights, all positive.
    """
    expected = align(parts, labels, row_weights) if aligned is None else aligned
    expected = expected.cpu().numpy() / len(parts)
    return _most_probable(parts, labels, row_weights, expected, prior_std.cpu().numpy())


def _most_probable(
    parts: Tensor,
    labels: Tensor,
    row_weights: Tensor,
    expected: NDArray[np.float64],
    prior_std: NDArray[np.float64],
    max_iter: int = 60,
) -> Tensor:
    """Maximise the weighted log-likelihood of the labels under log-normal priors on the weights, by Newton's method.

    With `u = log(w / expected)` the Hessian is `W H W + diag(W g) + diag(1 / prior_std^2)`, where `g` and `H` are the
    likelihood's gradient and Hessian in the weights, and `W` their diagonal matrix. Only the middle term can be
    negative; where it makes the whole indefinite, far from the maximum, it is left out.
    """
    over_label = parts - parts.gather(2, labels.expand(len(parts), -1)[..., None])

    def at(u: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        loss, slope, curvature = _likelihood(over_label, row_weights, expected * np.exp(u))
        loss += 0.5 * float(((u / prior_std) ** 2).sum())
        weights = expected * np.exp(u)
        hessian = curvature * np.outer(weights, weights) + np.diag(prior_std**-2.0)
        exact = hessian + np.diag(weights * slope)
        if np.linalg.eigvalsh(exact)[0] > 0.1 * np.linalg.eigvalsh(hessian)[0]:
            hessian = exact
        return loss, weights * slope + u / prior_std**2, hessian

    u = np.zeros(len(parts))
    loss, gradient, hessian = at(u)
    for _ in range(max_iter):
        step = -np.linalg.solve(hessian, gradient)
        step *= min(1.0, 2.0 / max(np.abs(step).max(), 1e-12))  # no weight changes more than e^2-fold at once
        while True:
            new_loss, new_gradient, new_hessian = at(u + step)
            if new_loss <= loss + 1e-4 * float(gradient @ step) + 1e-7 * abs(loss) or np.abs(step).max() < 1e-6:
                break
            step *= 0.5
        u, loss, gradient, hessian = u + step, new_loss, new_gradient, new_hessian
        if np.abs(step).max() < 1e-4:
            break
    return torch.as_tensor(expected * np.exp(u), dtype=torch.float64, device=parts.device)


def _likelihood(
    over_label: Tensor, row_weights: Tensor, weights: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Weighted negative log-likelihood of labels with its gradient (P,) and Hessian (P, P) in the weights.

    Args:
        over_label: float (P, N, C), each logit less that of the row's label.
        row_weights: float64 (N,).
        weights: float64 (P,).
    """
    logits = fuse(over_label, torch.as_tensor(weights, device=over_label.device))
    log_sums = torch.logsumexp(logits, dim=-1)
    p = (logits - log_sums[:, None]).exp_()
    weighted = over_label * p
    means = weighted.sum(-1).double()  # (P, N)
    seconds = weighted.mul_(row_weights.to(p)[:, None]).flatten(1) @ over_label.flatten(1).T
    shared = row_weights * means
    hessian = seconds.double() - shared @ means.T
    loss = float(row_weights @ log_sums.double())
    return loss, shared.sum(1).cpu().numpy(), hessian.cpu().numpy()
