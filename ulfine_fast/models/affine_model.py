"""The model of every closed form whose answer is affine in the features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ulfine_fast.models.logit_model import LogitModel


class AffineModel(LogitModel):
    """`x . w_k + b_k`.

    Example:
        >>> AffineModel(n_features=8, n_classes=3)(torch.rand(5, 8)).shape
        torch.Size([5, 3])
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, *, n_features: int, n_classes: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(n_classes, n_features))
        self.register_buffer("bias", torch.zeros(n_classes))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of unit features, (N, D) to (N, C)."""
        return features @ self.weight.T + self.bias

    def architecture(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        n_classes, n_features = self.weight.shape
        return {"n_features": n_features, "n_classes": n_classes}

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor) -> AffineModel:
        """A model in evaluation mode with weight (C, D) and bias (C,), on their device, as float32."""
        model = cls(n_features=weight.shape[1], n_classes=weight.shape[0])
        model.load_state_dict({"weight": weight.float(), "bias": bias.float()})
        return model.to(weight.device).eval()
