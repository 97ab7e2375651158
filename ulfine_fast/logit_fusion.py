"""DLF: several logits of the same rows, brought to one scale and added.

Published (arXiv 2505.05062): the similarity to fitted text prototypes and a probe's logits complement each other;
aligned in scale and fused, they serve pseudo-labels and predictions. How to align and to weigh them is this project's
decision: one positive weight for each, chosen to give the best class-balanced likelihood on labelled rows that the fit
had not seen. The same weights calibrate, since they also set the temperature.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def fuse(parts: Tensor, weights: Tensor) -> Tensor:
    """`sum_p w_p z_p`.

    Args:
        parts: float (P, N, C) logits.
        weights: float (P,), positive.

    Returns:
        float (N, C).
    """
    return torch.einsum("p,pnc->nc", weights, parts)


def fit_fusion_weights(
    parts: Tensor, labels: Tensor, row_weights: Tensor, expected: Tensor, spread: Tensor, max_iter: int = 60
) -> Tensor:
    """The most probable fusion weights given held-out logits.

    Weights are `w_p = beta * r_p` with `r_1 = 1`. The posterior is the weighted log-likelihood of the labels and
    log-normal priors on the temperature `beta` and the ratios `r_p`, by L-BFGS in float64.

    Args:
        parts: float (P, N, C), logits of rows that the parts were not fitted on.
        labels: int64 (N,).
        row_weights: float64 (N,), evidence of each row, see `ulfine_fast.folds.balanced_weights`.
        expected: float64 (P,): logarithms of the `beta` and then the ratios expected beforehand.
        spread: float64 (P,): standard deviations of those logarithms.
        max_iter: L-BFGS iterations.

    Returns:
        float64 (P,), the weights, all positive.
    """
    parts = parts.double()
    logs = expected.clone().requires_grad_()
    optimiser = torch.optim.LBFGS([logs], max_iter=max_iter, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        with torch.enable_grad():
            losses = cross_entropy(fuse(parts, weights_from_logs(logs)), labels, reduction="none")
            loss = (row_weights * losses).sum() + 0.5 * ((logs - expected) / spread).square().sum()
            loss.backward()
        return loss

    optimiser.step(closure)
    return weights_from_logs(logs.detach())


def weights_from_logs(logs: Tensor) -> Tensor:
    """`[beta, beta r_2, ...]` from `[log beta, log r_2, ...]`."""
    return torch.cat([logs[:1], logs[:1] + logs[1:]]).exp()
