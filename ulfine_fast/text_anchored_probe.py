"""The probe: a linear classifier that departs from the text prototypes only where labels ask for it."""

from __future__ import annotations

import torch
from torch import Tensor

from ulfine_fast.lbfgs import minimise
from ulfine_fast.logit_adjustment import log_prior, logit_adjusted_cross_entropy

UNIT = 50.0


def fit_text_anchored_probe(
    features: Tensor,
    labels: Tensor,
    anchor: Tensor,
    *,
    penalty: float,
    tau: float = 1.0,
    max_iter: int = 40,
) -> Tensor:
    """Minimise `LA-CE(x . (anchor_k + s d_k)) + penalty * |d|^2` over `d`, a convex problem, by L-BFGS.

    Zero-shot is the limit of a large penalty. The fixed `s = 50` only sets the unit of the penalty. Since the gradient
    lies in the span of the rows, the problem is solved in that span when there are fewer rows than dimensions. The loss
    is `logit_adjusted_cross_entropy`; the anchor is this project's decision.

    Args:
        features: float32 (N, D), unit length; with no row the anchor is the answer.
        labels: int64 (N,), 0 to C - 1.
        anchor: float32 (C, D): scaled text prototypes, or zeros where there is no text.
        penalty: At least 0.
        tau: Strength of the logit adjustment.
        max_iter: L-BFGS iterations.

    Returns:
        float32 (C, D). Logits are `features @ weight.T`.
    """
    if not len(features):
        return anchor
    n_classes = len(anchor)
    prior = log_prior(torch.bincount(labels, minlength=n_classes)).to(features)
    fixed = features @ anchor.T
    basis = None
    rows = features
    if features.shape[0] < features.shape[1]:
        basis, upper = torch.linalg.qr(features.T)
        rows = upper.T

    def loss(departure: Tensor) -> Tensor:
        logits = fixed + UNIT * rows @ departure.T
        return logit_adjusted_cross_entropy(logits, labels, prior, tau) + penalty * departure.square().sum()

    found = UNIT * minimise(loss, features.new_zeros(n_classes, rows.shape[1]), max_iter)
    return anchor + (found if basis is None else found @ basis.T)
