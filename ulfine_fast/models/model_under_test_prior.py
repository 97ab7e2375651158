"""A fitted classifier whose logits answer for a test prior."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ulfine_fast.models.logit_model import LogitModel


class ModelUnderTestPrior(LogitModel):
    """`z_k + shift_k`, see `ulfine_fast.priors.class_prior`. The parts of a fusion stay as they were fitted.

    Args:
        model: A fitted classifier.
        shift: float64 (C,), of `ulfine_fast.priors.class_prior.prior_shift`.

    Example:
        >>> under = ModelUnderTestPrior(run.model, np.log([2.0, 1.0]))
        >>> under(data.features[:5]).shape
        torch.Size([5, 2])
    """

    shift: Tensor

    def __init__(self, model: LogitModel, shift: NDArray[np.float64]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float32))
        self.eval()

    def logits(self, features: Tensor) -> Tensor:
        """Logits of unit features under the test prior, (N, D) to (N, C)."""
        return self.model.logits(features) + self.shift

    def part_logits(self, features: Tensor) -> dict[str, Tensor]:
        """Those of the model: their sum is `logits` less the shift."""
        return self.model.part_logits(features)

    @torch.no_grad()
    def probabilities(self, features: Tensor, batch_size: int | None = None) -> Tensor:
        """As in `LogitModel`, in the blocks that suit the model."""
        found = self.model.probabilities(features, **({} if batch_size is None else {"batch_size": batch_size}))
        # Their logarithms are as good as logits; what float32 takes for zero stays at its smallest number.
        return torch.softmax(found.clamp_min(torch.finfo(found.dtype).tiny).log_() + self.shift, dim=-1)

    def architecture(self) -> dict[str, Any]:
        """Not to be had: a run keeps the model as it was fitted; a test prior is of the place where it is used."""
        raise TypeError("a model under a test prior cannot be kept in a run: keep the model as it was fitted")
