"""`tip-adapter`: labelled rows as a key-value cache beside the zero-shot classifier. Nothing is trained.

Source: Zhang et al., Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification, ECCV 2022, and its
published code: logits `100 x . t_k + alpha sum_j exp(-beta (1 - x . f_j)) [y_j = k]` with alpha 1 and beta 5.5, or
searched on a linear grid on a validation set. Here the grid is the widest of the published configurations, 0.1 to 30 in
20 steps each, for all data sets alike, and is searched by cross-validation on the labelled rows. The cache is summed,
not averaged, so classes with more rows weigh more, as published. The paper averages ten random crops of every image
into its key; here a row is one view.

Without text the direction of the labelled class means stands in for the text prototype, as in `zero-shot`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from ulfine_cache.config import StrictConfig
from ulfine_fast.gradient.heads import initial_prototypes
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.models.logit_model import LogitModel
from ulfine_fast.models.neighbour_vote import SIMILARITIES_AT_ONCE
from ulfine_fast.rows.cross_validation import choose_setting, kept
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class TipAdapterSettings(StrictConfig):
    """Settings of `tip-adapter`.

    Attributes:
        scale: Multiplies the cosine similarity to the text.
        alpha: Weight of the cache before, or without, the search.
        beta: Sharpness of the cache before, or without, the search.
        search: Whether alpha and beta are searched.
        alpha_max: Upper end of the grid of alpha, which starts at 0.1.
        beta_max: Upper end of the grid of beta, which starts at 0.1.
        steps: Values of each on the grid.
        folds: Folds of the cross-validation that searches.
    """

    scale: float = Field(default=100.0, gt=0)
    alpha: float = Field(default=1.0, gt=0)
    beta: float = Field(default=5.5, gt=0)
    search: bool = True
    alpha_max: float = Field(default=30.0, gt=0.1)
    beta_max: float = Field(default=30.0, gt=0.1)
    steps: int = Field(default=20, ge=2)
    folds: int = Field(default=5, ge=2)


def cache_logits(similarities: Tensor, values: Tensor, beta: float) -> Tensor:
    """`sum_j exp(-beta (1 - s_ij)) v_jk`, of similarities (..., N, M) and values (..., M, C), float (..., N, C)."""
    return torch.exp(beta * (similarities - 1.0)) @ values


class TipAdapterModel(LogitModel):
    """Zero-shot logits plus those of the cache.

    Example:
        >>> model = TipAdapterModel(n_rows=10, n_features=8, n_classes=3, alpha=1.0, beta=5.5)
        >>> model(torch.rand(5, 8)).shape
        torch.Size([5, 3])
    """

    keys: Tensor
    values: Tensor
    text: Tensor

    def __init__(self, *, n_rows: int, n_features: int, n_classes: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.register_buffer("keys", torch.zeros(n_rows, n_features))
        self.register_buffer("values", torch.zeros(n_rows, n_classes))
        self.register_buffer("text", torch.zeros(n_classes, n_features))

    def part_logits(self, features: Tensor) -> dict[str, Tensor]:
        """The two sides, weighted: their sum is `logits`."""
        cache = self.alpha * cache_logits(features @ self.keys.mT, self.values, self.beta)
        return {"text": features @ self.text.mT, "cache": cache}

    def logits(self, features: Tensor) -> Tensor:
        """Logits of unit features, (N, D) to (N, C); of models side by side, (..., N, D) to (..., N, C)."""
        parts = self.part_logits(features)
        return parts["text"] + parts["cache"]

    def probabilities(self, features: Tensor, batch_size: int | None = None) -> Tensor:
        """As in `LogitModel`, in blocks that suit the number of stored rows."""
        return super().probabilities(features, batch_size or max(1, SIMILARITIES_AT_ONCE // len(self.keys)))

    def architecture(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "n_rows": self.keys.shape[0],
            "n_features": self.keys.shape[1],
            "n_classes": self.values.shape[1],
            "alpha": self.alpha,
            "beta": self.beta,
        }


def untrained(data: TrainingData, settings: TipAdapterSettings) -> TipAdapterModel:
    """The cache of some labelled rows with the alpha and beta of the settings."""
    model = TipAdapterModel(
        n_rows=len(data.labels),
        n_features=data.n_features,
        n_classes=data.n_classes,
        alpha=settings.alpha,
        beta=settings.beta,
    ).to(data.features.device)
    model.keys.copy_(data.features)
    model.values.copy_(one_hot(data.labels, data.n_classes))
    model.text.copy_(settings.scale * initial_prototypes(data))
    return model.eval()


def grid(settings: TipAdapterSettings) -> list[tuple[float, float]]:
    """Pairs of beta and alpha; the own of the settings come first."""

    def values(largest: float) -> list[float]:
        return [0.1 + i * (largest - 0.1) / settings.steps for i in range(settings.steps)]

    return [(settings.beta, settings.alpha), *product(values(settings.beta_max), values(settings.alpha_max))]


def search_grid(model: TipAdapterModel, features: Tensor, pairs: list[tuple[float, float]]) -> Iterator[Tensor]:
    """Logits (N, C) of unit features for each pair of beta and alpha; the cache is read once per run of one beta."""
    text, similarities = features @ model.text.T, features @ model.keys.T
    last, cache = None, text
    for beta, alpha in pairs:
        if beta != last:
            last, cache = beta, cache_logits(similarities, model.values, beta)
        yield text + alpha * cache


def fit(data: TrainingData, settings: TipAdapterSettings, seed: int, progress: Progress) -> FitResult:
    """Store the labelled rows and search alpha and beta."""
    model = untrained(data, settings)
    diagnostics: dict[str, Any] = {}
    if settings.search:
        pairs = grid(settings)
        choice = choose_setting(
            data,
            lambda keep: search_grid(untrained(kept(data, keep), settings), data.features[~keep], pairs),
            n_settings=len(pairs),
            default=0,
            n_folds=settings.folds,
            seed=seed,
        )
        model.beta, model.alpha = pairs[choice.index]
        if choice.macro_accuracy:
            diagnostics["left_out_macro_accuracy"] = choice.macro_accuracy[choice.index]
    progress.update("training", 1, 1)
    return FitResult(model=model, diagnostics={"alpha": model.alpha, "beta": model.beta} | diagnostics)


METHOD = Method(
    name="tip-adapter",
    settings=TipAdapterSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: TipAdapterModel(**architecture),
    prior_power=uniform_prior,
)
