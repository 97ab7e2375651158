"""PAF, prototype adaptive fitting, by the published rules (Zhang et al., ULFine, arXiv 2505.05062) as pure functions.

Text prototypes move towards visual ones, classes that are often predicted further than rare ones, which stay near their
text. All of them work on several models side by side, whose axes are the "..." in the shapes below.
`ulfine_fast.closed_form.paf` is the same idea in closed form. What the paper's public summaries leave open,
the gap between text and images and the form of the orthogonality term, is this project's decision and marked as such.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def visual_prototypes(
    previous: Tensor,
    seen: Tensor,
    features: Tensor,
    labels: Tensor,
    momentum: float,
    row_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`c_k^v <- m c_k^v + (1 - m) mean of the batch's rows of class k` (arXiv 2505.05062, PAF).

    Classes without rows in the batch stay as they are; a class seen for the first time takes its batch mean.

    Args:
        previous: float (..., C, D); rows of unseen classes do not matter.
        seen: bool (..., C), classes met before.
        features: float (..., N, D), labelled rows.
        labels: int64 (..., N).
        momentum: m in [0, 1).
        row_weights: 1 for rows that count and 0 for others, float (..., N); None counts all.

    Returns:
        Visual prototypes (..., C, D), not of unit length, and the classes seen by now, bool (..., C).
    """
    one_hot = torch.nn.functional.one_hot(labels, previous.shape[-2]).to(features)
    if row_weights is not None:
        one_hot = one_hot * row_weights[..., None]
    counts = one_hot.sum(-2)
    means = one_hot.mT @ features / counts.clamp_min(1)[..., None]
    kept = torch.where(seen, momentum, 0.0)[..., None]
    moved = kept * previous + (1 - kept) * means
    present = counts > 0
    return torch.where(present[..., None], moved, previous), seen | present


def pseudo_label_distribution(predicted: Tensor, n_classes: int) -> Tensor:
    """`P_u^k`, the share of unlabelled rows whose pseudo-label is class k (arXiv 2505.05062, PAF).

    Args:
        predicted: int64 (..., N), N at least 1.
        n_classes: C.

    Returns:
        float32 (..., C), sums to 1.
    """
    counts = torch.zeros(*predicted.shape[:-1], n_classes, device=predicted.device)
    ones = torch.ones(predicted.shape, device=predicted.device)
    return counts.scatter_add_(-1, predicted, ones) / predicted.shape[-1]


def movement_rates(distribution: Tensor, mu: float) -> Tensor:
    """`a_k = mu * P_u^k / max_i P_u^i` (arXiv 2505.05062, PAF).

    Args:
        distribution: float (..., C), P_u, at least 0, not all 0.
        mu: Rate of the most frequent class, in [0, 1].

    Returns:
        float (..., C), in [0, mu].

    Example:
        >>> movement_rates(torch.tensor([0.5, 0.25, 0.25, 0.0]), mu=0.5)
        tensor([0.5000, 0.2500, 0.2500, 0.0000])
    """
    return mu * distribution / distribution.amax(-1, keepdim=True)


def across_gap(visual: Tensor, seen: Tensor, text: Tensor) -> Tensor:
    """Shift visual prototypes to where the text ones lie, `c_k^v - mean_j c_j^v + mean_j c_j^t` over seen classes j.

    This project's decision. Images and texts fill two far apart cones (Liang et al., Mind the gap, NeurIPS 2022).
    Without the shift, whichever prototype moves first lies nearer to every image, and takes them all.

    Args:
        visual: float (..., C, D).
        seen: bool (..., C), classes with a visual prototype.
        text: float (..., C, D), the text prototypes before any movement, unit length.

    Returns:
        float (..., C, D).
    """
    count = seen.sum(-1).clamp_min(1)[..., None, None]
    centres = [torch.where(seen[..., None], each, 0.0).sum(-2, keepdim=True) / count for each in (visual, text)]
    return visual - centres[0] + centres[1]


def move_prototypes(prototypes: Tensor, visual: Tensor, rates: Tensor) -> Tensor:
    """`c_k^t <- (1 - a_k) c_k^t + a_k c_k^v`, then unit length (arXiv 2505.05062, PAF).

    Args:
        prototypes: float (..., C, D), c^t, unit length.
        visual: float (..., C, D), c^v.
        rates: float (..., C), a.

    Returns:
        float (..., C, D), unit length.
    """
    share = rates[..., None]
    return normalize((1 - share) * prototypes + share * visual, dim=-1)


def orthogonality(prototypes: Tensor) -> Tensor:
    """Mean over pairs i != j of the squared cosine, `(c_i . c_j)^2`: 0 for orthogonal prototypes, 1 for equal ones.

    The paper names an orthogonality constraint; this form is this project's decision.

    Args:
        prototypes: float (..., C, D), C at least 2.

    Returns:
        float (...), in [0, 1].
    """
    unit = normalize(prototypes, dim=-1)
    cosines = unit @ unit.mT
    n_classes = cosines.shape[-1]
    off_diagonal = cosines - torch.diag_embed(cosines.diagonal(dim1=-2, dim2=-1))
    return off_diagonal.square().sum((-2, -1)) / (n_classes * (n_classes - 1))


def separate(prototypes: Tensor, step: float) -> Tensor:
    """One gradient step on C times `orthogonality`, so that no step depends on C, then unit length.

    Args:
        prototypes: float (..., C, D), unit length.
        step: Length of the step; 0 changes nothing.

    Returns:
        float (..., C, D), unit length.
    """
    with torch.enable_grad():
        moving = prototypes.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(moving.shape[-2] * orthogonality(moving).sum(), moving)
    return normalize(prototypes - step * gradient, dim=-1)
