"""Which predictions on unlabelled rows are taken for labels, and what they teach."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


def confident_pseudo_labels(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The most probable class of each row, and whether its probability reaches the threshold.

    Source: FixMatch (Sohn et al., NeurIPS 2020), whose threshold of 0.95 is too high for CLIP: 0.6 to 0.7 is best
    (LoFT's sweep on CIFAR-100-LT).

    Args:
        logits: float (..., N, C), without the prior of the labelled rows, so that they favour no class.
        threshold: Probability in [0, 1]. At 0 every row counts.

    Returns:
        Classes, int64 (..., N), and whether they count, bool (..., N).

    Example:
        >>> confident_pseudo_labels(torch.tensor([[2.0, 0.0], [0.1, 0.0]]), 0.7)
        (tensor([0, 0]), tensor([ True, False]))
    """
    confidence, classes = torch.softmax(logits, dim=-1).max(dim=-1)
    return classes, confidence >= threshold


def masked_cross_entropy(logits: Tensor, classes: Tensor, counts: Tensor) -> Tensor:
    """Cross-entropy of the rows that count, divided by the number of all rows.

    Dividing by all rows lets the term grow with the share of confident rows (FixMatch, equation 4).

    Args:
        logits: float (N, C), of the strong view; (..., N, C) of models side by side.
        classes: int64 (N,) or (..., N), pseudo-labels.
        counts: bool (N,) or (..., N).

    Returns:
        A scalar, or float (...) for models side by side; 0 where no row counts.
    """
    losses = cross_entropy(logits.flatten(0, -2), classes.flatten(), reduction="none").reshape(classes.shape)
    return (losses * counts).mean(-1)
