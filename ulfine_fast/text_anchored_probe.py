"""The probe: a linear classifier that departs from the text prototypes only where labels ask for it."""

from __future__ import annotations

import torch
from torch import Tensor

from ulfine_fast.logit_adjustment import log_prior, logit_adjusted_cross_entropy


def fit_text_anchored_probe(
    features: Tensor,
    labels: Tensor,
    n_classes: int,
    *,
    text: Tensor | None,
    penalty: float,
    scale: float = 50.0,
    tau: float = 1.0,
    max_iter: int = 40,
) -> Tensor:
    """Minimise `LA-CE(scale * x . (t_k + d_k)) + penalty * |d|^2` over `d`, a convex problem, by L-BFGS.

    Zero-shot is the limit of a large penalty. Without text the anchor is zero. Since the gradient lies in the span of
    the rows, the problem is solved in that span when there are fewer rows than dimensions. The loss is
    `logit_adjusted_cross_entropy`; the anchor is this project's decision.

    Args:
        features: float32 (N, D), unit length.
        labels: int64 (N,).
        n_classes: C.
        text: float32 (C, D) unit length, or None.
        penalty: lambda, at least 0.
        scale: Multiplies the cosine similarity.
        tau: Strength of the logit adjustment.
        max_iter: L-BFGS iterations.

    Returns:
        float32 (C, D): `t + d`. Logits are `scale * features @ weight.T`.
    """
    prior = log_prior(torch.bincount(labels, minlength=n_classes)).to(features)
    anchor = features.new_zeros(n_classes, features.shape[1]) if text is None else text
    fixed = scale * features @ anchor.T
    basis = None
    rows = features
    if features.shape[0] < features.shape[1]:
        basis, upper = torch.linalg.qr(features.T)
        rows = upper.T
    departure = features.new_zeros(n_classes, rows.shape[1]).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [departure], max_iter=max_iter, history_size=10, line_search_fn="strong_wolfe", tolerance_grad=1e-6
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        with torch.enable_grad():
            logits = fixed + scale * rows @ departure.T
            loss = logit_adjusted_cross_entropy(logits, labels, prior, tau) + penalty * departure.square().sum()
            loss.backward()
        return loss

    optimiser.step(closure)
    found = departure.detach()
    return anchor + (found if basis is None else found @ basis.T)
