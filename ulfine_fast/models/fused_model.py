"""The model behind `ulfine`: adapter, fitted prototypes, probe and text, and the weights that fuse their logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ulfine_fast.models.logit_model import LogitModel


class FusedModel(LogitModel):
    """`w_1 (z . c_k - |c_k|^2 / 2) + w_2 s x . p_k + w_3 s_t x . t_k` with the adapted feature `z = (x - m) A`.

    `A` is the adapter (the identity where nothing speaks for another one), `c` the fitted prototypes in adapted space,
    `p` the probe, `t` the text prototypes. The first and third term are the text side of the fusion, the second is the
    probe's. All of it is linear in `x`.

    Example:
        >>> model = FusedModel(n_features=8, n_classes=3, has_text=False)
        >>> model(torch.rand(5, 8)).shape
        torch.Size([5, 3])
    """

    centre: Tensor
    adapter: Tensor
    prototypes: Tensor
    probe: Tensor
    text: Tensor
    weights: Tensor

    def __init__(self, *, n_features: int, n_classes: int, has_text: bool) -> None:
        super().__init__()
        self.has_text = has_text
        self.register_buffer("centre", torch.zeros(n_features))
        self.register_buffer("adapter", torch.eye(n_features))
        self.register_buffer("prototypes", torch.zeros(n_classes, n_features))
        self.register_buffer("probe", torch.zeros(n_classes, n_features))
        if has_text:
            self.register_buffer("text", torch.zeros(n_classes, n_features))
        self.register_buffer("weights", torch.ones(3 if has_text else 2))

    def part_logits(self, features: Tensor) -> dict[str, Tensor]:
        """The two sides of the fusion, weighted: their sum is `logits`."""
        adapted = (features - self.centre) @ self.adapter
        text_side = self.weights[0] * (adapted @ self.prototypes.T - 0.5 * self.prototypes.square().sum(-1))
        if self.has_text:
            text_side = text_side + self.weights[2] * (features @ self.text.T)
        return {"text": text_side, "probe": self.weights[1] * (features @ self.probe.T)}

    def logits(self, features: Tensor) -> Tensor:
        """Fused logits of unit features, (N, D) to (N, C)."""
        parts = self.part_logits(features)
        return parts["text"] + parts["probe"]

    def architecture(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        n_classes, n_features = self.prototypes.shape
        return {"n_features": n_features, "n_classes": n_classes, "has_text": self.has_text}
