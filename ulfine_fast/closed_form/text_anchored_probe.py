"""The probe: a linear classifier that departs from the text prototypes only where labels ask for it."""

from __future__ import annotations

import torch
from torch import Tensor

from ulfine_fast.closed_form.lbfgs import minimise
from ulfine_fast.closed_form.row_space import principal_axes
from ulfine_fast.priors.logit_adjustment import log_prior

UNIT = 50.0

NEVER = -1e4
"""A logit whose probability is 0 in single precision, and that is finite."""


def fit_text_anchored_probes(
    features: Tensor,
    labels: Tensor,
    anchor: Tensor,
    keep: Tensor,
    *,
    penalty: float,
    tau: float = 1.0,
    unseen: bool = True,
    max_iter: int = 60,
    tolerance: float = 1e-5,
    start: Tensor | None = None,
) -> Tensor:
    """Minimise `LA-CE(x . (anchor_k + s d_k)) + penalty * |d|^2` over `d`, a convex problem, for B selections of rows.

    Zero-shot is the limit of a large penalty. The fixed `s = 50` only sets the unit of the penalty. The loss is
    `logit_adjustment.logit_adjusted_cross_entropy`; the anchor is this project's decision.

    All selections are solved at once by L-BFGS, each from its anchor, so that none knows of rows that only others see.
    Unknowns are the coordinates of `d` along the principal axes of the rows, in units of the inverse root of the
    curvature there: `h s^2 variance + 2 penalty` with `h` the mean of `p (1 - p)` at the start. That saves a third
    of the iterations. Directions that no row has have no gradient, so few rows make few unknowns.

    Args:
        features: float32 (N, D), unit length.
        labels: int64 (N,), 0 to C - 1.
        anchor: float32 (C, D): scaled text prototypes, or zeros where there is no text.
        keep: bool (B, N), which rows each problem may see; one that sees none answers with its anchor.
        penalty: At least 0.
        tau: Strength of the logit adjustment.
        unseen: Whether a class of which a problem sees no row takes part in its loss. Where it does, the rows of all
            other classes push it away and nothing holds it; where it does not, it keeps its anchor.
        max_iter: Evaluations of the loss.
        tolerance: What the loss, in nats, may lie above its minimum, about.
        start: float32 (B, C, D), weights to begin with, such as those of nearly the same rows; None: the anchor.

    Returns:
        float32 (B, C, D). Logits are `features @ weight[b].T`.

    Example:
        >>> rows, labels = torch.eye(3), torch.tensor([0, 1, 2])
        >>> everything = torch.ones(1, 3, dtype=torch.bool)
        >>> probe = fit_text_anchored_probes(rows, labels, torch.zeros(3, 3), everything, penalty=0.1)
        >>> (rows @ probe[0].T).argmax(1)
        tensor([0, 1, 2])
    """
    n_rows, n_classes, n_problems = len(features), len(anchor), len(keep)
    axes = principal_axes(features)
    rows = features @ axes
    counts = torch.stack([torch.bincount(labels[chosen], minlength=n_classes) for chosen in keep])
    adjustment = tau * torch.stack([log_prior(count) for count in counts]).to(features)
    if not unseen:
        adjustment = adjustment.masked_fill(counts == 0, NEVER)
    fixed = ((features @ anchor.T)[:, None] + adjustment).flatten(1)  # (N, B C)
    share = (keep / keep.sum(1, keepdim=True).clamp_min(1)).T.to(features).contiguous()  # (N, B)
    label_places = (labels[:, None] + n_classes * torch.arange(n_problems, device=labels.device)).contiguous()
    begin = torch.softmax(fixed[:, :n_classes], dim=-1)
    curvature = (begin * (1 - begin)).mean()
    variance = rows.square().mean(0)
    # Never far below the curvature that other points have, or a start that is sure of itself would step too far.
    scale = UNIT * (curvature.clamp_min(1e-3) * UNIT**2 * variance + 2 * penalty).rsqrt()
    strength = penalty / UNIT**2

    def value_and_gradient(points: Tensor) -> tuple[Tensor, Tensor]:
        weights = points.view(n_problems * n_classes, len(scale)) * scale  # (B C, R)
        logits = torch.addmm(fixed, rows, weights.T)
        p = torch.softmax(logits.view(n_rows, n_problems, n_classes), dim=-1)
        losses = -(share * p.flatten(1).gather(1, label_places).clamp_min(1e-30).log()).sum(0, dtype=torch.float64)
        residuals = p.mul_(share[:, :, None]).flatten(1)
        residuals.scatter_add_(1, label_places, -share)
        gradient = residuals.T @ rows + 2 * strength * weights
        losses = losses + strength * weights.view_as(points).square().sum(1, dtype=torch.float64)
        return losses.to(points), (gradient * scale).view_as(points)

    points = features.new_zeros(n_problems, n_classes * rows.shape[1])
    if start is not None:
        points = ((start - anchor) @ axes / scale).flatten(1)
    found = minimise(value_and_gradient, points, max_iter=max_iter, tolerance=2 * tolerance)
    departure = found.view(n_problems * n_classes, len(scale)) * scale @ axes.T
    return anchor + departure.view(n_problems, n_classes, -1)
