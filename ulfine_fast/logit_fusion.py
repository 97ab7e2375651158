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

from ulfine_fast.lbfgs import minimise


def fuse(parts: Tensor, weights: Tensor) -> Tensor:
    """`sum_p w_p z_p`.

    Args:
        parts: float (P, N, C) logits.
        weights: float (P,), positive.

    Returns:
        float (N, C).
    """
    return torch.einsum("p,pnc->nc", weights, parts)


def align(parts: Tensor, labels: Tensor, row_weights: Tensor) -> Tensor:
    """The scale at which each part alone is calibrated: the common unit in which parts can be added.

    Args:
        parts: float (P, N, C), logits of rows that the parts were not fitted on.
        labels: int64 (N,).
        row_weights: float64 (N,), evidence of each row.

    Returns:
        float64 (P,), positive: the inverse temperature with the greatest likelihood, under a wide prior around 0.1.
    """
    wide = torch.tensor([2.0], dtype=torch.float64, device=parts.device)
    around = torch.tensor([0.1], dtype=torch.float64, device=parts.device)
    return torch.cat([_most_probable(part[None], labels, row_weights, around, wide) for part in parts])


def fit_fusion_weights(parts: Tensor, labels: Tensor, row_weights: Tensor, spread: Tensor) -> Tensor:
    """The most probable weights given held-out logits.

    Parts are first brought to one scale by `align`. Beforehand they are expected to weigh the same, `1 / P` each, and
    `spread` says how far from there the labels may move each weight.

    Args:
        parts: float (P, N, C), logits of rows that the parts were not fitted on.
        labels: int64 (N,).
        row_weights: float64 (N,), evidence of each row, see `ulfine_fast.folds.balanced_weights`.
        spread: float64 (P,): standard deviations of the weights' logarithms.

    Returns:
        float64 (P,), the weights, all positive.
    """
    expected = align(parts, labels, row_weights) / len(parts)
    return _most_probable(parts, labels, row_weights, expected, spread)


def _most_probable(
    parts: Tensor, labels: Tensor, row_weights: Tensor, expected: Tensor, spread: Tensor, max_iter: int = 60
) -> Tensor:
    """Maximise the weighted log-likelihood of the labels under log-normal priors on the weights, in float64."""
    parts = parts.double()

    def loss(departure: Tensor) -> Tensor:
        losses = cross_entropy(fuse(parts, expected * departure.exp()), labels, reduction="none")
        return (row_weights * losses).sum() + 0.5 * (departure / spread).square().sum()

    return expected * minimise(loss, torch.zeros_like(expected), max_iter).exp()
