"""`zero-shot`: cosine similarity to one prototype per class, nothing trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from ulfine_cache.config import StrictConfig
from ulfine_fast.gradient.heads import initial_prototypes
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.models.logit_model import LogitModel
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class ZeroShotSettings(StrictConfig):
    """Settings of `zero-shot`.

    Attributes:
        scale: Logits are `scale` times the cosine similarity. CLIP's own learnt temperature ends at 100 (Radford et
            al., Learning Transferable Visual Models From Natural Language Supervision, 2021, section 2.5).
    """

    scale: float = Field(default=100.0, gt=0)


class PrototypeModel(LogitModel):
    """Logits are the scaled cosine similarities to C prototypes.

    Example:
        >>> model = PrototypeModel(n_features=512, n_classes=19, scale=100.0)
        >>> model(torch.randn(3, 512)).shape
        torch.Size([3, 19])
    """

    prototypes: Tensor

    def __init__(self, *, n_features: int, n_classes: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("prototypes", torch.zeros(n_classes, n_features))

    def logits(self, features: Tensor) -> Tensor:
        """Scaled cosine similarities, (N, D) to (N, C)."""
        return self.scale * features @ self.prototypes.T

    def architecture(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        n_classes, n_features = self.prototypes.shape
        return {"n_features": n_features, "n_classes": n_classes, "scale": self.scale}


def fit(data: TrainingData, settings: ZeroShotSettings, seed: int, progress: Progress) -> FitResult:
    """Take the text prototypes; without text, the labelled class means stand in (a nearest-mean classifier)."""
    model = PrototypeModel(n_features=data.n_features, n_classes=data.n_classes, scale=settings.scale)
    model.prototypes.copy_(initial_prototypes(data))
    if data.text is None:
        progress.note("no text features: the labelled class means stand in for them")
    progress.update("training", 1, 1)
    return FitResult(
        model=model.to(data.features.device).eval(),
        diagnostics={"prototypes": "text" if data.text is not None else "labelled means"},
    )


METHOD = Method(
    name="zero-shot",
    settings=ZeroShotSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: PrototypeModel(**architecture),
    prior_power=uniform_prior,
    seeded=False,
)
