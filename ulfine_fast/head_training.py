"""The training behind `lp`, `lft` and kin: heads by gradient, several seeds and left-out folds side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ulfine_fast.cross_validation import kept
from ulfine_fast.descent import Descent, descend
from ulfine_fast.early_stopping import EarlyStopping
from ulfine_fast.linear_head import LinearHeadConfig, LinearHeadModel, batches, new_head
from ulfine_fast.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from ulfine_fast.method import FitResult
from ulfine_fast.side_by_side import Axes, stack_models, whole_states

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.training_data import TrainingData

UnlabelledTerm = Callable[[LinearHeadModel, Axes], tuple[Tensor, Mapping[str, Tensor]]]
"""What unlabelled rows add to the loss in a step: one loss for each model, and figures for the history, likewise."""


def _optimiser_and_schedule(
    parameters: Iterator[nn.Parameter], config: LinearHeadConfig
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW and the cosine fall of its rate to zero over `config.steps`."""
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    return optimiser, torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)


def fit(data: TrainingData, config: LinearHeadConfig, seed: int, progress: Progress) -> FitResult:
    """Train on the labelled rows alone; the last step is the model, or the best one with early stopping."""
    return train_heads(data, config, [seed], progress)[0]


def train_heads(
    data: TrainingData,
    config: LinearHeadConfig,
    seeds: Sequence[int],
    progress: Progress,
    *,
    unlabelled: UnlabelledTerm | None = None,
    diagnostics: Mapping[str, Any] | None = None,
) -> list[FitResult]:
    """Train one head for each seed, all in the same steps.

    Each seed has its own start and its own batches. One seed alone is trained without leading axes; several give the
    same models up to the order of float sums. Where one batch holds all rows, the models share it.

    Args:
        data: Labelled rows; `unlabelled` knows its own.
        config: Settings.
        seeds: S seeds.
        progress: Told about the steps.
        unlabelled: Another term of the loss.
        diagnostics: What every result tells besides.
    """
    stopping = _early_stopping(data, config, seeds, progress)
    axes = Axes(len(seeds)) if stopping is None else stopping.axes
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    model, prior = _heads_and_priors(data, config, seeds, generators, stopping, axes)
    optimiser, schedule = _optimiser_and_schedule(model.parameters(), config)
    draws = [batches(len(data.labels), config.batch_size, generator) for generator in generators]

    def step(number: int) -> dict[str, Tensor]:
        batch = _draw(data, draws, axes, stopping)
        logits = model.logits(batch.features)
        loss = logit_adjusted_cross_entropy(logits, batch.labels, prior, config.tau, batch.weights)
        figures = {"loss": loss.detach()}
        if unlabelled is not None:
            term, more = unlabelled(model, axes)
            loss = loss + term
            figures |= more
        optimiser.zero_grad(set_to_none=True)
        loss.sum().backward()
        optimiser.step()
        schedule.step()
        return {name: axes.whole(values) for name, values in figures.items()}

    def look(number: int) -> tuple[dict[str, Tensor], bool]:
        assert stopping is not None
        with torch.no_grad():
            loss, enough = stopping.look(number, model, model.logits(data.features))
        return {"left_out_loss": loss}, enough

    if stopping is not None:
        look(0)
    descent = descend(
        step, steps=config.steps, n_seeds=len(seeds), progress=progress, check=None if stopping is None else look
    )
    return _results(data, config, model, axes, descent, stopping, diagnostics or {})


@dataclass(frozen=True)
class _Batch:
    """One step's labelled rows, as they broadcast against the models."""

    features: Tensor
    labels: Tensor
    weights: Tensor | None


def _draw(data: TrainingData, draws: Sequence[Iterator[Tensor]], axes: Axes, stopping: EarlyStopping | None) -> _Batch:
    rows = [next(draw).to(data.labels.device) for draw in draws]
    if not axes.shape:
        return _Batch(data.features[rows[0]], data.labels[rows[0]], None)
    if len(rows[0]) == len(data.labels):
        # The order within a batch changes nothing, and rows that all models share are read once.
        order = torch.arange(len(data.labels), device=data.labels.device)
        features, labels, taken = data.features, data.labels, order.expand(axes.seeds, -1)
    else:
        features = axes.batch([data.features[row] for row in rows])
        labels, taken = axes.batch([data.labels[row] for row in rows]), torch.stack(rows)
    return _Batch(features, axes.per_problem(labels), None if stopping is None else stopping.row_weights(taken))


def _early_stopping(
    data: TrainingData, config: LinearHeadConfig, seeds: Sequence[int], progress: Progress
) -> EarlyStopping | None:
    if not config.early_stopping:
        return None
    if not EarlyStopping.is_possible(data):
        progress.note("early stopping needs labelled rows that can be left out: all steps are taken")
        return None
    return EarlyStopping(data, seeds, config.folds)


def _heads_and_priors(
    data: TrainingData,
    config: LinearHeadConfig,
    seeds: Sequence[int],
    generators: Sequence[torch.Generator],
    stopping: EarlyStopping | None,
    axes: Axes,
) -> tuple[LinearHeadModel, Tensor]:
    """The models before their first step, stacked, and the log prior of the rows that each learns from."""
    heads: list[LinearHeadModel] = []
    priors: list[Tensor] = []
    for place, (seed, generator) in enumerate(zip(seeds, generators, strict=True)):
        heads.append(new_head(data, config, generator))
        priors.append(log_prior(data.labelled_counts))
        for keep in () if stopping is None else stopping.keep[place, 1:]:
            part = kept(data, keep)
            heads.append(new_head(part, config, torch.Generator().manual_seed(seed)))
            priors.append(log_prior(part.labelled_counts))
    model = stack_models(heads, axes)
    return model, priors[0] if not axes.shape else torch.stack(priors).reshape(*axes.shape, 1, -1)


def _results(
    data: TrainingData,
    config: LinearHeadConfig,
    model: LinearHeadModel,
    axes: Axes,
    descent: Descent,
    stopping: EarlyStopping | None,
    diagnostics: Mapping[str, Any],
) -> list[FitResult]:
    states = whole_states(model, axes) if stopping is None else stopping.states
    results: list[FitResult] = []
    for seed, state in enumerate(states):
        head = model if not axes.shape else new_head(data, config, torch.Generator())
        head.load_state_dict(state)
        found = {}
        if stopping is not None:
            found = {"steps": stopping.best_step[seed], "left_out_loss": stopping.best_loss[seed]}
        results.append(
            FitResult(
                model=head.eval(),
                history=descent.histories[seed],
                diagnostics={**diagnostics, **found},
                interrupted_at=descent.interrupted_at,
            )
        )
    return results
