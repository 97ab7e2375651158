"""The shape of every fitted classifier: features in, logits out, rebuilt from a JSON description."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class LogitModel(nn.Module, ABC):
    """A classifier on frozen features.

    Subclasses write `logits` (and `part_logits`, where the answer is a fusion) for features of unit length. Callers use
    `forward` and `parts`, which bring features to unit length first, so that the same model gives the same answer in
    training, at prediction and in an export, however the features were scaled. For rows of a cache that is once more
    than needed (`ulfine_cache.store.unit_norm`).

    `softmax(forward(features))` are the class probabilities: a temperature belongs inside the model.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Logits of any features.

        Args:
            features: float (N, D), of any length but zero.

        Returns:
            float (N, C).
        """
        return self.logits(normalize(features, dim=-1))

    def parts(self, features: Tensor) -> dict[str, Tensor]:
        """The logits that were fused, by name, such as ``{"text": (N, C), "probe": (N, C)}``.

        Args:
            features: float (N, D), of any length but zero.

        Returns:
            One float (N, C) per part; empty for a model that fuses nothing.
        """
        return self.part_logits(normalize(features, dim=-1))

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Logits of features of unit length, (N, D) to (N, C)."""
        raise NotImplementedError

    def part_logits(self, features: Tensor) -> dict[str, Tensor]:
        """The fused logits by name, of features of unit length."""
        return {}

    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """JSON-able description from which the method's `build` re-creates this module, still without its weights."""
        raise NotImplementedError

    @torch.no_grad()
    def probabilities(self, features: Tensor, batch_size: int = 65536) -> Tensor:
        """Class probabilities, computed in blocks and without gradients.

        Args:
            features: float32 (N, D).
            batch_size: Rows per block.

        Returns:
            float32 (N, C), each row sums to 1.
        """
        blocks = [torch.softmax(self(block), dim=-1) for block in features.split(batch_size)]
        return torch.cat(blocks)
