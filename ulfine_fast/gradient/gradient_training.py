"""Training by gradient of several models at once: one for each seed, and for early stopping one without each fold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor

from ulfine_fast.gradient.batches import batches
from ulfine_fast.gradient.descent import DescentSettings, descend
from ulfine_fast.gradient.early_stopping import EarlyStopping, can_stop_early
from ulfine_fast.gradient.side_by_side import Axes, stack_models, whole_states
from ulfine_fast.method import FitResult
from ulfine_fast.models.logit_model import LogitModel
from ulfine_fast.priors.logit_adjustment import log_prior
from ulfine_fast.processes.shared_logits import average_gradients, rows_shared
from ulfine_fast.rows.cross_validation import kept

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData

Model = TypeVar("Model", bound=LogitModel)

NEVER = -1e4
"""The logarithm of a prior of zero, finite so that `tau = 0` makes 0 of it."""


@dataclass(frozen=True)
class Batch:
    """One step's labelled rows, as they broadcast against the models.

    Attributes:
        features: float32 (..., N, D).
        labels: int64 (..., N), with the axes of the models.
        weights: 1 for rows that a model learns from, 0 for others, float (..., N); None where all learn from all.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor | None


@dataclass(frozen=True)
class Problems(Generic[Model]):
    """Models side by side and what they learn from.

    Attributes:
        model: All of them, stacked.
        axes: Their leading axes, "..." below.
        counts: int64 (..., C), labelled rows of each class that each model learns from.
    """

    model: Model
    axes: Axes
    counts: Tensor

    @property
    def prior(self) -> Tensor:
        """The logarithm of the class prior of these rows, float32 (..., 1, C), to be added to logits.

        A class without rows, known by its text alone, has the prior 0 and so no part in an adjusted loss: its weights
        stay where they start. With a share of half a row they would be pushed away from every row and pulled by none.
        """
        return torch.where(self.counts > 0, log_prior(self.counts), NEVER).unsqueeze(-2)


@dataclass(frozen=True)
class Objective:
    """What models side by side minimise.

    Attributes:
        loss: From a batch and the step's number, counted from 1, to one loss for each model and figures for the
            history.
        state: What else the steps change, tensors with the axes of the models: the diagnostics are told what they were
            at the step that counts.
    """

    loss: Callable[[Batch, int], tuple[Tensor, Mapping[str, Tensor]]]
    state: Callable[[], Mapping[str, Tensor]] = dict


@dataclass(frozen=True)
class _Snapshot:
    """What the whole problem of a seed is at a step: the weights of its model, and the state of its objective."""

    weights: dict[str, Tensor]
    state: dict[str, Tensor]


def train_side_by_side(
    data: TrainingData,
    settings: DescentSettings,
    seeds: Sequence[int],
    progress: Progress,
    *,
    new_model: Callable[[TrainingData, torch.Generator], Model],
    objective: Callable[[Problems[Model]], Objective],
    diagnostics: Callable[[Model, Mapping[str, Tensor]], Mapping[str, Any]] = lambda model, state: {},
) -> list[FitResult]:
    """Train one model for each seed, all in the same steps; the last step counts, or the best with early stopping.

    Each seed has its own start and its own batches. One seed alone is trained without leading axes; several give the
    same models up to the order of float sums. Where one batch holds all rows, the models share it.

    Args:
        data: All rows.
        settings: Settings.
        seeds: S seeds.
        progress: Told about the steps.
        new_model: From rows and a generator to the model before its first step, on the device of the rows.
        objective: From all models to what they minimise, before the first step.
        diagnostics: From the model of a seed and the state of its objective to what the result tells besides.
    """
    stopping = _early_stopping(data, settings, seeds, progress)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    problems = _problems(data, seeds, generators, stopping, new_model)
    model, axes = problems.model, problems.axes
    minimised = objective(problems)
    optimiser = _optimiser(model, settings)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    draws = [batches(len(data.labels), settings.batch_size, generator) for generator in generators]

    def step(number: int) -> dict[str, Tensor]:
        loss, figures = minimised.loss(_draw(data, draws, axes, stopping), number)
        if loss.requires_grad:  # parts of a method may be turned off until nothing is learnt by gradient
            optimiser.zero_grad(set_to_none=True)
            loss.sum().backward()
            average_gradients(model)
            optimiser.step()
            schedule.step()
        return {name: axes.whole(values) for name, values in figures.items()}

    def snapshots() -> list[_Snapshot]:
        pairs = zip(whole_states(model.state_dict(), axes), whole_states(minimised.state(), axes), strict=True)
        return [_Snapshot(*pair) for pair in pairs]

    def look(number: int) -> tuple[dict[str, Tensor], bool]:
        assert stopping is not None
        with torch.no_grad():
            loss, enough = stopping.look(number, model.logits(data.features), snapshots)
        return {"left_out_loss": loss}, enough

    with rows_shared(model):
        if stopping is not None:
            look(0)
        descent = descend(
            step, steps=settings.steps, n_seeds=len(seeds), progress=progress, check=None if stopping is None else look
        )
    results: list[FitResult] = []
    for seed, counts in sorted(dict(enumerate(snapshots()) if stopping is None else stopping.kept).items()):
        whole = new_model(data, torch.Generator()) if axes.shape else model
        whole.load_state_dict(counts.weights)
        found = dict(diagnostics(whole.eval(), counts.state))
        if stopping is not None:
            found |= {"steps": stopping.best_step[seed], "left_out_loss": stopping.best_loss[seed]}
        results.append(FitResult(whole, descent.histories[seed], found, descent.interrupted_at))
    return results


def _optimiser(model: LogitModel, settings: DescentSettings) -> torch.optim.Optimizer:
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.optimiser == "sgd":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)


def _early_stopping(
    data: TrainingData, settings: DescentSettings, seeds: Sequence[int], progress: Progress
) -> EarlyStopping[_Snapshot] | None:
    if settings.early_stopping and can_stop_early(data, progress):
        return EarlyStopping(data, seeds, settings.folds)
    return None


def _problems(
    data: TrainingData,
    seeds: Sequence[int],
    generators: Sequence[torch.Generator],
    stopping: EarlyStopping[_Snapshot] | None,
    new_model: Callable[[TrainingData, torch.Generator], Model],
) -> Problems[Model]:
    """The models before their first step, and the counts of the rows that each learns from."""
    models: list[Model] = []
    counts: list[Tensor] = []
    for place, (seed, generator) in enumerate(zip(seeds, generators, strict=True)):
        models.append(new_model(data, generator))
        counts.append(data.labelled_counts)
        for keep in () if stopping is None else stopping.keep[place, 1:]:
            part = kept(data, keep)
            models.append(new_model(part, torch.Generator().manual_seed(seed)))
            counts.append(part.labelled_counts)
    axes = Axes(len(seeds)) if stopping is None else stopping.axes
    return Problems(stack_models(models, axes), axes, torch.stack(counts).reshape(*axes.shape, -1))


def _draw(
    data: TrainingData, draws: Sequence[Iterator[Tensor]], axes: Axes, stopping: EarlyStopping[_Snapshot] | None
) -> Batch:
    rows = [next(draw).to(data.labels.device) for draw in draws]
    if not axes.shape:
        return Batch(data.features[rows[0]], data.labels[rows[0]], None)
    if len(rows[0]) == len(data.labels):
        # The order within a batch changes nothing, and rows that all models share are read once.
        order = torch.arange(len(data.labels), device=data.labels.device)
        features, labels, taken = data.features, data.labels, order.expand(axes.seeds, -1)
    else:
        features = axes.batch([data.features[row] for row in rows])
        labels, taken = axes.batch([data.labels[row] for row in rows]), torch.stack(rows)
    return Batch(features, axes.per_problem(labels), None if stopping is None else stopping.row_weights(taken))
