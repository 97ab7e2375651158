"""Heads trained by gradient on features: the model, its settings and its training. What `lp`, `lft` and kin are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from ulfine_fast.gradient.descent import DescentSettings
from ulfine_fast.gradient.gradient_training import Batch, Objective, Problems, train_side_by_side
from ulfine_fast.gradient.side_by_side import Axes
from ulfine_fast.method import FitResult
from ulfine_fast.models.logit_model import LogitModel
from ulfine_fast.models.residual_adapter import ResidualAdapter
from ulfine_fast.priors.logit_adjustment import logit_adjusted_cross_entropy

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class LinearHeadSettings(DescentSettings):
    """Settings of a head trained by gradient, beside those of the training.

    Attributes:
        tau: Strength of the logit adjustment in the loss; 0 is plain cross-entropy.
        scale: Multiplies the similarity of feature and weight (LIFT, Shi et al., ICML 2024, uses 25).
        cosine: Whether weights are brought to unit length, which keeps head classes from growing longer ones.
        initial: Where the weights start: text prototypes (labelled class means without text), or zero.
        adapter_width: Bottleneck of the residual adapter before the head; 0 trains no adapter.
    """

    tau: float = Field(default=0.0, ge=0)
    scale: float = Field(default=25.0, gt=0)
    cosine: bool = False
    initial: Literal["text", "zero"] = "zero"
    adapter_width: int = Field(default=0, ge=0)


class LinearHeadModel(LogitModel):
    """`scale * adapter(x) . w_k`, with or without the adapter, with weights of free or of unit length.

    Example:
        >>> LinearHeadModel(n_features=8, n_classes=3, scale=25.0, cosine=True, adapter_width=2)(torch.rand(5, 8)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self,
        *,
        n_features: int,
        n_classes: int,
        scale: float,
        cosine: bool,
        adapter_width: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.cosine = cosine
        self.adapter = ResidualAdapter(n_features, adapter_width, generator) if adapter_width else None
        self.weight = nn.Parameter(torch.zeros(n_classes, n_features))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of unit features, (N, D) to (N, C); of models side by side, (..., N, D) to (..., N, C)."""
        adapted = features if self.adapter is None else self.adapter(features)
        weight = normalize(self.weight, dim=-1) if self.cosine else self.weight
        return self.scale * adapted @ weight.mT

    def architecture(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        n_classes, n_features = self.weight.shape
        return {
            "n_features": n_features,
            "n_classes": n_classes,
            "scale": self.scale,
            "cosine": self.cosine,
            "adapter_width": 0 if self.adapter is None else self.adapter.down.shape[0],
        }


def build(architecture: dict[str, Any]) -> LinearHeadModel:
    """Re-create an untrained model from its description."""
    return LinearHeadModel(**architecture)


def initial_prototypes(data: TrainingData) -> Tensor:
    """The text prototypes; without text, the directions of the labelled class means. float32 (C, D), unit length."""
    if data.text is not None:
        return data.text
    sums = data.features.new_zeros(data.n_classes, data.n_features)
    return normalize(sums.index_add_(0, data.labels, data.features), dim=-1)


def new_head(data: TrainingData, settings: LinearHeadSettings, generator: torch.Generator) -> LinearHeadModel:
    """The model before its first step, on the device of the data."""
    model = LinearHeadModel(
        n_features=data.n_features,
        n_classes=data.n_classes,
        scale=settings.scale,
        cosine=settings.cosine,
        adapter_width=settings.adapter_width,
        generator=generator,
    ).to(data.features.device)
    if settings.cosine or settings.initial == "text":  # a cosine has no direction to start from at zero
        with torch.no_grad():
            model.weight.copy_(initial_prototypes(data))
    return model


UnlabelledTerm = Callable[[LinearHeadModel, Axes], tuple[Tensor, Mapping[str, Tensor]]]
"""What unlabelled rows add to the loss in a step: one loss for each model, and figures for the history, likewise."""


def train_heads(
    data: TrainingData,
    settings: LinearHeadSettings,
    seeds: Sequence[int],
    progress: Progress,
    *,
    unlabelled: UnlabelledTerm | None = None,
    diagnostics: Mapping[str, Any] | None = None,
) -> list[FitResult]:
    """Train one head for each seed, all in the same steps (`train_side_by_side`).

    Args:
        data: Labelled rows; `unlabelled` knows its own.
        settings: Settings.
        seeds: S seeds.
        progress: Told about the steps.
        unlabelled: Another term of the loss.
        diagnostics: What every result tells besides.
    """

    def objective(problems: Problems[LinearHeadModel]) -> Objective:
        prior = problems.prior

        def loss_of(batch: Batch, number: int) -> tuple[Tensor, Mapping[str, Tensor]]:
            logits = problems.model.logits(batch.features)
            loss = logit_adjusted_cross_entropy(logits, batch.labels, prior, settings.tau, batch.weights)
            figures = {"loss": loss.detach()}
            if unlabelled is None:
                return loss, figures
            term, more = unlabelled(problems.model, problems.axes)
            return loss + term, {**figures, **more}

        return Objective(loss_of)

    return train_side_by_side(
        data,
        settings,
        seeds,
        progress,
        new_model=lambda rows, generator: new_head(rows, settings, generator),
        objective=objective,
        diagnostics=lambda model, state: diagnostics or {},
    )
