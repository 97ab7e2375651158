"""`tip-adapter-f`: Tip-Adapter whose keys are trained by gradient.

Source: as in `ulfine_fast.methods.tip_adapter`; the published code trains for 20 epochs of batches of 256 with AdamW,
rate 1e-3 falling along a cosine, eps 1e-4, plain cross-entropy, at the initial alpha and beta, and searches these
afterwards. It keeps the epoch that is best on the test set; here the last one counts. The search is by cross-validation
on the labelled rows, with keys trained in every fold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from ulfine_cache.progress import Silent
from ulfine_fast.cross_validation import choose_setting, kept
from ulfine_fast.interruption import Interruption, first_interrupt_noted
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.methods.tip_adapter import (
    TipAdapterConfig,
    TipAdapterModel,
    cache_logits,
    grid,
    search_grid,
    untrained,
)

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.training_data import TrainingData


class TrainedTipAdapterConfig(TipAdapterConfig):
    """Settings of `tip-adapter-f`: those of `tip-adapter` and of the training.

    Attributes:
        epochs: Passes over the labelled rows.
        batch_size: Labelled rows per step.
        learning_rate: Peak rate of AdamW.
        weight_decay: AdamW's decay; 0.01 is torch's default, which the published code leaves.
    """

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)


def train_keys(
    data: TrainingData,
    config: TrainedTipAdapterConfig,
    seed: int,
    interruption: Interruption,
    progress: Progress,
) -> tuple[TipAdapterModel, list[dict[str, float]]]:
    """A model with trained keys at the initial alpha and beta, and one entry of history per epoch till the end."""
    generator = torch.Generator().manual_seed(seed)
    model = untrained(data, config)
    keys = model.keys.clone().requires_grad_(True)
    steps = config.epochs * -(-len(data.labels) // config.batch_size)
    optimiser = torch.optim.AdamW([keys], lr=config.learning_rate, eps=1e-4, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    text = data.features @ model.text.T
    history: list[dict[str, float]] = []
    for epoch in range(1, config.epochs + 1):
        total = 0.0
        for row in torch.randperm(len(data.labels), generator=generator).to(keys.device).split(config.batch_size):
            cache = cache_logits(data.features[row] @ keys.T, model.values, config.beta)
            loss = cross_entropy(text[row] + config.alpha * cache, data.labels[row])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(row)
        history.append({"step": epoch, "loss": total / len(data.labels)})
        progress.update("training", epoch, config.epochs, loss=history[-1]["loss"])
        if interruption.requested:
            break
    model.keys.copy_(keys.detach())
    return model, history


def fit(data: TrainingData, config: TrainedTipAdapterConfig, seed: int, progress: Progress) -> FitResult:
    """Train the keys on all labelled rows, then search alpha and beta.

    Ctrl-C ends the training after the epoch; a search that it meets is given up, and alpha and beta stay at the start.
    """
    diagnostics: dict[str, Any] = {}
    with first_interrupt_noted() as interruption:
        model, history = train_keys(data, config, seed, interruption, progress)
        pairs = grid(config) if config.search and not interruption.requested else []

        def fold_logits(keep: Tensor) -> Iterator[Tensor]:
            trained, _ = train_keys(kept(data, keep), config, seed, interruption, Silent())
            return search_grid(trained, data.features[~keep], pairs)

        if pairs:
            choice = choose_setting(
                data, fold_logits, n_settings=len(pairs), default=0, n_folds=config.folds, seed=seed
            )
            if not interruption.requested:
                model.beta, model.alpha = pairs[choice.index]
                if choice.macro_accuracy:
                    diagnostics["left_out_macro_accuracy"] = choice.macro_accuracy[choice.index]
        ended_early = interruption.requested and (config.search or len(history) < config.epochs)
    return FitResult(
        model=model,
        history=history,
        diagnostics={"alpha": model.alpha, "beta": model.beta} | diagnostics,
        interrupted_at=len(history) if ended_early else None,
    )


METHOD = Method(
    name="tip-adapter-f",
    config=TrainedTipAdapterConfig,
    fit=fit,
    build=lambda architecture: TipAdapterModel(**architecture),
    prior_power=uniform_prior,
)
