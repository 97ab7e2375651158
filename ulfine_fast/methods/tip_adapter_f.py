"""`tip-adapter-f`: Tip-Adapter whose keys are trained by gradient.

Source: as in `ulfine_fast.methods.tip_adapter`; the published code trains for 20 epochs of batches of 256 with AdamW,
rate 1e-3 falling along a cosine, eps 1e-4, plain cross-entropy, at the initial alpha and beta, and searches these
afterwards. It keeps the epoch that is best on the test set; here the last one counts, or with `early_stopping` the one
that is best in cross-validation on the labelled rows. The search is by cross-validation too, with keys trained in every
fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from ulfine_fast.cross_validation import Choice, choose_setting, kept
from ulfine_fast.early_stopping import can_stop_early
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
        early_stopping: Whether cross-validation on the labelled rows chooses after how many of the epochs to stop.
    """

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    early_stopping: bool = False


def trained_epochs(
    data: TrainingData, config: TrainedTipAdapterConfig, seed: int
) -> Iterator[tuple[TipAdapterModel, float]]:
    """The model at the initial alpha and beta, its keys trained on, and the mean loss, after each epoch."""
    generator = torch.Generator().manual_seed(seed)
    model = untrained(data, config)
    keys = model.keys.clone().requires_grad_(True)
    steps = config.epochs * -(-len(data.labels) // config.batch_size)
    optimiser = torch.optim.AdamW([keys], lr=config.learning_rate, eps=1e-4, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    text = data.features @ model.text.T
    for _ in range(config.epochs):
        total = 0.0
        for row in torch.randperm(len(data.labels), generator=generator).to(keys.device).split(config.batch_size):
            cache = cache_logits(data.features[row] @ keys.T, model.values, config.beta)
            loss = cross_entropy(text[row] + config.alpha * cache, data.labels[row])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach()) * len(row)
        model.keys.copy_(keys.detach())
        yield model, total / len(data.labels)


class _Training:
    """One fit: how its folds are trained, what they choose, and when Ctrl-C ended it."""

    def __init__(
        self, data: TrainingData, config: TrainedTipAdapterConfig, seed: int, interruption: Interruption
    ) -> None:
        self.data, self.config, self.seed, self.interruption = data, config, seed, interruption

    def train(self, data: TrainingData, epochs: int) -> TipAdapterModel:
        """The model of some rows after that many epochs of the schedule."""
        model = untrained(data, self.config)
        for trained, _ in islice(trained_epochs(data, self.config, self.seed), epochs):
            model = trained
            if self.interruption.requested:
                break
        return model

    def choose_epochs(self) -> int:
        """After how many epochs, none included, left-out rows are predicted best by cross-entropy."""

        def fold_logits(keep: Tensor) -> Iterator[Tensor]:
            part, rows = kept(self.data, keep), self.data.features[~keep]
            yield untrained(part, self.config).logits(rows)
            for model, _ in trained_epochs(part, self.config, self.seed):
                yield model.logits(rows)
                if self.interruption.requested:
                    break

        last = self.config.epochs
        return self._choose(fold_logits, n_settings=last + 1, default=last, criterion="cross-entropy").index

    def choose_pair(self, epochs: int, pairs: list[tuple[float, float]]) -> Choice:
        """The best beta and alpha for keys of that many epochs."""

        def fold_logits(keep: Tensor) -> Iterator[Tensor]:
            return search_grid(self.train(kept(self.data, keep), epochs), self.data.features[~keep], pairs)

        return self._choose(fold_logits, n_settings=len(pairs), default=0)

    def _choose(self, fold_logits: Callable[[Tensor], Iterable[Tensor]], **options: Any) -> Choice:
        return choose_setting(self.data, fold_logits, n_folds=self.config.folds, seed=self.seed, **options)


def fit(data: TrainingData, config: TrainedTipAdapterConfig, seed: int, progress: Progress) -> FitResult:
    """Train the keys on all labelled rows, then search alpha and beta.

    Early stopping then trains them again, as far as the folds say. Ctrl-C ends the training after the epoch; a choice
    that it meets is given up: all epochs count, and alpha and beta stay at the start.
    """
    history: list[dict[str, float]] = []
    diagnostics: dict[str, Any] = {}
    model, epochs = untrained(data, config), config.epochs
    stops_early = config.early_stopping and can_stop_early(data, progress)
    with first_interrupt_noted() as interruption:
        training = _Training(data, config, seed, interruption)
        for epoch, (trained, loss) in enumerate(trained_epochs(data, config, seed), start=1):
            model = trained
            history.append({"step": epoch, "loss": loss})
            progress.update("training", epoch, config.epochs, loss=loss)
            if interruption.requested:
                break
        if stops_early and not interruption.requested:
            chosen = training.choose_epochs()
            stopped = training.train(data, chosen)
            if not interruption.requested:
                model, epochs = stopped, chosen
                diagnostics["epochs"] = epochs
        if config.search and not interruption.requested:
            pairs = grid(config)
            choice = training.choose_pair(epochs, pairs)
            if not interruption.requested:
                model.beta, model.alpha = pairs[choice.index]
                if choice.macro_accuracy:
                    diagnostics["left_out_macro_accuracy"] = choice.macro_accuracy[choice.index]
        ended_early = interruption.requested and (config.search or stops_early or len(history) < config.epochs)
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
