"""Logit adjustment: how a class prior enters a loss or leaves a decision."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def log_prior(counts: Tensor, floor: float = 0.5) -> Tensor:
    """Logarithm of the class prior that counts imply, `log(n_k / sum_j n_j)`.

    Args:
        counts: (..., C) rows of each class, at least 0.
        floor: What an empty class counts as, in rows, so that its logarithm stays finite.

    Returns:
        float32 (..., C).

    Example:
        >>> log_prior(torch.tensor([8, 2])).exp()
        tensor([0.8000, 0.2000])
    """
    floored = counts.float().clamp_min(floor)
    return torch.log(floored / floored.sum(-1, keepdim=True))


def prior_range(prior: Tensor) -> dict[str, Tensor]:
    """The smallest and the largest share of class priors (..., C), as the history and the live line call them."""
    return {"prior_min": prior.amin(-1), "prior_max": prior.amax(-1)}


def logit_adjusted_cross_entropy(
    logits: Tensor, labels: Tensor, prior: Tensor, tau: float = 1.0, row_weights: Tensor | None = None
) -> Tensor:
    """`CE(z + tau * log prior, y)`, averaged over rows.

    Training with the prior added leaves `z` itself unbiased: predictions on balanced data use `z` alone. Source: Menon
    et al., Long-tail learning via logit adjustment, ICLR 2021, equation 10. With `tau = 0` this is plain cross-entropy.

    Args:
        logits: float (N, C), z; (..., N, C) of models side by side.
        labels: int64 (N,) classes, or float (N, C) rows of a distribution; int64 (..., N) for models side by side.
        prior: float (C,), the logarithm of the class prior of the rows, or (..., 1, C).
        tau: Strength; 1 is Fisher consistent for the balanced error.
        row_weights: float (..., N), what rows count in the average of models side by side; None counts all alike.

    Returns:
        A scalar, or float (...) for models side by side.
    """
    adjusted = logits + tau * prior
    if logits.dim() == 2 and row_weights is None:
        return cross_entropy(adjusted, labels)
    losses = cross_entropy(adjusted.flatten(0, -2), labels.flatten(), reduction="none").reshape(labels.shape)
    if row_weights is None:
        return losses.mean(-1)
    return (losses * row_weights).sum(-1) / row_weights.sum(-1).clamp_min(1.0)
