"""The model behind `ulfine-paper`: an adapter, fitted text prototypes, a cosine probe, and the sum of their logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ulfine_fast.models.logit_model import LogitModel
from ulfine_fast.models.residual_adapter import ResidualAdapter


class DualLogitModel(LogitModel):
    """`w r z . c_k + (1 - w) s z . p_k` with adapted features `z`, prototypes `c` and probe `p`, all of unit length.

    `r` brings the prototypes' logits to the scale of the probe's. It is a running figure of the training, stored with
    the weights, so that the fitted model is a fixed function of each row.

    Args:
        n_features: D.
        n_classes: C.
        scale: s, of the cosine probe.
        text_weight: w in [0, 1].
        adapter_width: Bottleneck of the adapter; 0 for none.
        generator: Source of the adapter's initial weights.

    Example:
        >>> model = DualLogitModel(n_features=8, n_classes=3, scale=25.0, text_weight=0.5, adapter_width=2)
        >>> model(torch.rand(5, 8)).shape
        torch.Size([5, 3])
    """

    prototypes: Tensor
    text_scale: Tensor

    def __init__(
        self,
        *,
        n_features: int,
        n_classes: int,
        scale: float,
        text_weight: float,
        adapter_width: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.text_weight = text_weight
        self.adapter = ResidualAdapter(n_features, adapter_width, generator) if adapter_width else None
        self.weight = nn.Parameter(torch.zeros(n_classes, n_features))
        self.register_buffer("prototypes", torch.zeros(n_classes, n_features))
        self.register_buffer("text_scale", torch.tensor(scale))

    def adapt(self, features: Tensor) -> Tensor:
        """Adapted features, (N, D) to (N, D), unit length both; to (..., N, D) by models side by side."""
        return features if self.adapter is None else self.adapter(features)

    def unscaled_logits(self, adapted: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities to the prototypes, not yet scaled, and the probe's logits, of adapted features; (..., N, C)."""
        return adapted @ self.prototypes.mT, self.scale * adapted @ normalize(self.weight, dim=-1).mT

    def part_logits(self, features: Tensor) -> dict[str, Tensor]:
        """The two sides of the fusion, scaled and weighted: their sum is `logits`."""
        similarities, probe = self.unscaled_logits(self.adapt(features))
        return {
            "text": self.text_weight * self.text_scale[..., None, None] * similarities,
            "probe": (1 - self.text_weight) * probe,
        }

    def logits(self, features: Tensor) -> Tensor:
        """Fused logits of unit features, (N, D) to (N, C)."""
        parts = self.part_logits(features)
        return parts["text"] + parts["probe"]

    def architecture(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        n_classes, n_features = self.weight.shape
        return {
            "n_features": n_features,
            "n_classes": n_classes,
            "scale": self.scale,
            "text_weight": self.text_weight,
            "adapter_width": 0 if self.adapter is None else self.adapter.down.shape[0],
        }


@torch.no_grad()
def scale_ratio(similarities: Tensor, probe: Tensor, row_weights: Tensor | None = None) -> Tensor:
    """Factor that gives the prototypes' logits the scale of the probe's.

    The paper fuses logits "aligned in scale"; this measure of scale, the standard deviation over classes, is this
    project's decision. It ignores what all classes share, which no decision depends on.

    Args:
        similarities: float (N, C); (..., N, C) of models side by side.
        probe: float (N, C) or (..., N, C).
        row_weights: float (..., N), what rows count; None counts all alike.

    Returns:
        `mean_n std_k(probe) / mean_n std_k(similarities)`, a scalar or (...).
    """
    scales = probe.std(dim=-1), similarities.std(dim=-1)
    if row_weights is None:
        above, below = (scale.mean(-1) for scale in scales)
    else:
        total = row_weights.sum(-1).clamp_min(1.0)
        above, below = ((scale * row_weights).sum(-1) / total for scale in scales)
    return above / below.clamp_min(1e-6)
