"""A classifier on the features of several encoders side by side: one for each encoder, and their answers together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ulfine_fast.models.logit_model import LogitModel

ENCODERS = "encoders"
"""Key of the architecture that marks such a model: the widths."""


class SeveralEncoders(LogitModel):
    """`sum_k share_k f_k(x_k)`, the weighted geometric mean of the probabilities, where `x_k` is the k-th part of `x`.

    Parts have equal lengths, so that each is of unit length when it is multiplied by the root of their number. Affine
    classifiers make an affine one.

    Args:
        models: A classifier for the features of each encoder.
        widths: Of the parts; their sum is D.
        shares: Of each encoder, with the sum 1; None before weights are loaded.
    """

    shares: Tensor

    def __init__(
        self, models: Sequence[LogitModel], widths: Sequence[int], shares: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.widths = tuple(widths)
        equal = [1 / len(models)] * len(models)
        self.register_buffer("shares", torch.tensor(equal if shares is None else list(shares), dtype=torch.float32))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of unit features, (N, D) to (N, C)."""
        parts = features.split(list(self.widths), dim=-1)
        length = len(self.widths) ** 0.5
        found = [
            share * model.logits(length * part)
            for share, model, part in zip(self.shares, self.classifiers(), parts, strict=True)
        ]
        return torch.stack(found).sum(0)

    def architecture(self) -> dict[str, Any]:
        """The widths, and the architecture of each classifier."""
        return {ENCODERS: list(self.widths), "models": [model.architecture() for model in self.classifiers()]}

    def classifiers(self) -> list[LogitModel]:
        """Those of the encoders, in their order."""
        return [model for model in self.models if isinstance(model, LogitModel)]
