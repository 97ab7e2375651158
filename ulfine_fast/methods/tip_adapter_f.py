"""`tip-adapter-f`: Tip-Adapter whose keys are trained by gradient.

Source: as in `ulfine_fast.methods.tip_adapter`; the published code trains for 20 epochs of batches of 256 with AdamW,
rate 1e-3 falling along a cosine, eps 1e-4, plain cross-entropy, at the initial alpha and beta, and searches these
afterwards. It keeps the epoch that is best on the test set; here the last one counts, or with `early_stopping` the one
that is best in cross-validation on the labelled rows. The search is by cross-validation too, with keys trained in every
fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from ulfine_fast.gradient.descent import record
from ulfine_fast.gradient.early_stopping import can_stop_early
from ulfine_fast.gradient.side_by_side import Axes, stack_models
from ulfine_fast.interruption import Interruption, first_interrupt_noted
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.methods.tip_adapter import (
    TipAdapterModel,
    TipAdapterSettings,
    cache_logits,
    grid,
    search_grid,
    untrained,
)
from ulfine_fast.priors.logit_adjustment import logit_adjusted_cross_entropy
from ulfine_fast.rows.cross_validation import Choice, choose_settings, kept
from ulfine_fast.seeds import VALUES_AT_ONCE, in_turns

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class TrainedTipAdapterSettings(TipAdapterSettings):
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
    parts: Sequence[TrainingData], settings: TrainedTipAdapterSettings, seeds: Sequence[int]
) -> Iterator[tuple[TipAdapterModel, Tensor]]:
    """The models at the initial alpha and beta, side by side, and their mean losses (S,), after each epoch.

    Args:
        parts: Labelled rows for each of S seeds, equally many.
        settings: Settings.
        seeds: They shuffle the rows.
    """
    axes, n_rows = Axes(len(seeds)), len(parts[0].labels)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    alone = [untrained(part, settings) for part in parts]
    texts = [part.features @ model.text.T for part, model in zip(parts, alone, strict=True)]
    model = stack_models(alone, axes)
    keys = model.keys.clone().requires_grad_(True)
    steps = settings.epochs * -(-n_rows // settings.batch_size)
    optimiser = torch.optim.AdamW([keys], lr=settings.learning_rate, eps=1e-4, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    no_prior = keys.new_zeros(1)
    for _ in range(settings.epochs):
        total = torch.zeros(len(seeds), dtype=torch.float64)
        orders = [torch.randperm(n_rows, generator=generator).to(keys.device) for generator in generators]
        for rows in zip(*(order.split(settings.batch_size) for order in orders), strict=True):
            features, labels, text = (
                axes.batch([values[row] for values, row in zip(of_seeds, rows, strict=True)])
                for of_seeds in ([part.features for part in parts], [part.labels for part in parts], texts)
            )
            logits = text + settings.alpha * cache_logits(features @ keys.mT, model.values, settings.beta)
            loss = logit_adjusted_cross_entropy(logits, labels, no_prior, tau=0.0)
            optimiser.zero_grad(set_to_none=True)
            loss.sum().backward()
            optimiser.step()
            schedule.step()
            total += axes.whole(loss.detach()).cpu().double() * len(rows[0])
        model.keys.copy_(keys.detach())
        yield model, total / n_rows


class _Training:
    """One fit of several seeds: how their folds are trained, what they choose, and when Ctrl-C ended it."""

    def __init__(
        self, data: TrainingData, settings: TrainedTipAdapterSettings, seeds: Sequence[int], interruption: Interruption
    ) -> None:
        self.data, self.settings, self.seeds, self.interruption = data, settings, seeds, interruption

    def train(self, parts: Sequence[TrainingData], epochs: Sequence[int]) -> list[TipAdapterModel]:
        """The models of some rows after as many epochs of the schedule as each seed asks for."""
        models = [untrained(part, self.settings) for part in parts]
        trained = islice(trained_epochs(parts, self.settings, self.seeds), max(epochs))
        for epoch, (stacked, _) in enumerate(trained, start=1):
            self.take(stacked, [last == epoch for last in epochs], models)
            if self.interruption.requested:
                break
        return models

    def take(self, stacked: TipAdapterModel, wanted: Sequence[bool], models: Sequence[TipAdapterModel]) -> None:
        """Copy the keys of the wanted seeds."""
        keys = stacked.keys.reshape(len(self.seeds), -1, self.data.n_features)
        for own, model, take in zip(keys, models, wanted, strict=True):
            if take:
                model.keys.copy_(own)

    def choose_epochs(self) -> list[int]:
        """After how many epochs, none included, left-out rows are predicted best by cross-entropy."""
        axes = Axes(len(self.seeds))

        def fold_logits(keep: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
            parts = [kept(self.data, own) for own in keep]
            rows = [self.data.features[~own] for own in keep]
            yield [untrained(part, self.settings).logits(own) for part, own in zip(parts, rows, strict=True)]
            for stacked, _ in trained_epochs(parts, self.settings, self.seeds):
                logits = stacked.logits(axes.batch(rows))
                yield logits.reshape(len(self.seeds), -1, self.data.n_classes).unbind()
                if self.interruption.requested:
                    break

        last = self.settings.epochs
        choices = self._choose(fold_logits, n_settings=last + 1, default=last, criterion="cross-entropy")
        return [choice.index for choice in choices]

    def choose_pairs(self, epochs: Sequence[int], pairs: list[tuple[float, float]]) -> list[Choice]:
        """The best beta and alpha for keys of as many epochs."""

        def fold_logits(keep: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
            models = self.train([kept(self.data, own) for own in keep], epochs)
            searches = [
                search_grid(model, self.data.features[~own], pairs) for model, own in zip(models, keep, strict=True)
            ]
            yield from zip(*searches, strict=True)

        return self._choose(fold_logits, n_settings=len(pairs), default=0)

    def _choose(
        self, fold_logits: Callable[[Sequence[Tensor]], Iterable[Sequence[Tensor]]], **options: Any
    ) -> list[Choice]:
        return choose_settings(self.data, fold_logits, n_folds=self.settings.folds, seeds=self.seeds, **options)


def fit_seeds(
    data: TrainingData, settings: TrainedTipAdapterSettings, seeds: Sequence[int], progress: Progress
) -> list[FitResult]:
    """Train the keys on all labelled rows, then search alpha and beta.

    Early stopping then trains them again, as far as the folds say. Ctrl-C ends the training after the epoch; a choice
    that it meets is given up: all epochs count, and alpha and beta stay at the start.
    """
    # Their keys and values are the largest tensors.
    at_once = max(1, VALUES_AT_ONCE // (len(data.labels) * max(data.n_features, data.n_classes)))
    return in_turns(lambda turn, told: _fit_turn(data, settings, turn, told), seeds, progress, at_once=at_once)


def _fit_turn(
    data: TrainingData, settings: TrainedTipAdapterSettings, seeds: Sequence[int], progress: Progress
) -> list[FitResult]:
    """All seeds side by side."""
    every, n_seeds = [data] * len(seeds), len(seeds)
    models = [untrained(data, settings) for _ in seeds]
    histories: list[list[dict[str, float]]] = [[] for _ in seeds]
    diagnostics: list[dict[str, Any]] = [{} for _ in seeds]
    epochs = [settings.epochs] * n_seeds
    stops_early = settings.early_stopping and can_stop_early(data, progress)
    with first_interrupt_noted() as interruption:
        training = _Training(data, settings, seeds, interruption)
        for epoch, (stacked, losses) in enumerate(trained_epochs(every, settings, seeds), start=1):
            record(histories, epoch, {"loss": losses})
            progress.update("training", epoch, settings.epochs, loss=float(losses.mean()))
            ends = interruption.requested or epoch == settings.epochs
            training.take(stacked, [ends] * n_seeds, models)
            if ends:
                break
        if stops_early and not interruption.requested:
            chosen = training.choose_epochs()
            stopped = training.train(every, chosen)
            if not interruption.requested:
                models, epochs = stopped, chosen
                for found, best in zip(diagnostics, chosen, strict=True):
                    found["epochs"] = best
        if settings.search and not interruption.requested:
            pairs = grid(settings)
            choices = training.choose_pairs(epochs, pairs)
            if not interruption.requested:
                for model, choice, found in zip(models, choices, diagnostics, strict=True):
                    model.beta, model.alpha = pairs[choice.index]
                    if choice.macro_accuracy:
                        found["left_out_macro_accuracy"] = choice.macro_accuracy[choice.index]
        done = len(histories[0])
        ended_early = interruption.requested and (settings.search or stops_early or done < settings.epochs)
    return [
        FitResult(
            model=model,
            history=history,
            diagnostics={"alpha": model.alpha, "beta": model.beta} | found,
            interrupted_at=done if ended_early else None,
        )
        for model, history, found in zip(models, histories, diagnostics, strict=True)
    ]


METHOD = Method(
    name="tip-adapter-f",
    settings=TrainedTipAdapterSettings,
    fit_seeds=fit_seeds,
    build=lambda architecture: TipAdapterModel(**architecture),
    prior_power=uniform_prior,
)
