"""A classifier on the features of several encoders side by side, each with a weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ulfine_fast.models.logit_model import LogitModel

WEIGHTED = "weighted"
"""Key of the architecture that marks such a model."""


class WeightedParts(LogitModel):
    """`f(s * x)`: a classifier of features whose parts were stretched before it was fitted.

    Parts have equal lengths, so that stretched features have unit length too where the squares of the weights have the
    mean 1. An affine classifier stays one.

    Args:
        model: The classifier of the stretched features.
        widths: Of the parts; their sum is D.
        weights: One factor for each part; None before weights are loaded.
    """

    scale: Tensor

    def __init__(self, model: LogitModel, widths: Sequence[int], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.model = model
        self.widths = tuple(widths)
        self.register_buffer("scale", part_scale(widths, [1.0] * len(widths) if weights is None else weights))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of unit features, (N, D) to (N, C)."""
        return self.model.logits(features * self.scale)

    def part_logits(self, features: Tensor) -> dict[str, Tensor]:
        """Those that the model fuses."""
        return self.model.part_logits(features * self.scale)

    def architecture(self) -> dict[str, Any]:
        """That of the model, and the widths."""
        return {WEIGHTED: list(self.widths), "model": self.model.architecture()}


def part_scale(widths: Sequence[int], weights: Sequence[float]) -> Tensor:
    """The factor of each number of a feature, float32 (D,).

    Example:
        >>> part_scale([2, 1], [0.5, 2.0])
        tensor([0.5000, 0.5000, 2.0000])
    """
    return torch.cat([torch.full((width,), float(weight)) for width, weight in zip(widths, weights, strict=True)])
