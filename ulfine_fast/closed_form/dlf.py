"""DLF: several logits of the same rows, brought to one scale and added.

Published (arXiv 2505.05062): the similarity to fitted text prototypes and a probe's logits complement each other;
aligned in scale and fused, they serve pseudo-labels and predictions. How to align and to weigh them is this project's
decision: one positive weight for each, chosen to give the best class-balanced likelihood on labelled rows that the fit
had not seen. The same weights calibrate, since they also set the temperature.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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
    around, wide = np.array([0.1]), np.array([2.0])
    scales = [_most_probable(part[None], labels, row_weights, around, wide) for part in parts]
    return torch.cat(scales)


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
