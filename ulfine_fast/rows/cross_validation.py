"""Choosing a method's settings on labelled rows that it did not see: the same budget and the same rule for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ulfine_fast.rows.folds import balanced_weights, stratified_folds
from ulfine_fast.rows.training_data import DescribedTrainingData

if TYPE_CHECKING:
    from ulfine_fast.rows.training_data import TrainingData


@dataclass(frozen=True)
class Choice:
    """Which setting was chosen.

    Attributes:
        index: Its place in the order in which the settings were tried.
        macro_accuracy: Of each setting on the rows left out, 0 to 1; empty where no row could be left out.
    """

    index: int
    macro_accuracy: list[float]


def kept(data: TrainingData, keep: Tensor) -> TrainingData:
    """The same data with the labelled rows of a mask only, bool (n_labelled,)."""
    rows = replace(data, features=data.features[keep], labels=data.labels[keep])
    if isinstance(rows, DescribedTrainingData) and rows.group_numbers is not None:
        return replace(rows, group_numbers=rows.group_numbers[keep.cpu()])
    return rows


def usable_rows(data: TrainingData) -> Tensor:
    """Which labelled rows can be scored when they are left out, bool (n_labelled,).

    A class of one labelled row has none left to learn from when that row is left out, so it has no say where there is
    no text.
    """
    if data.text is not None:
        return torch.ones_like(data.labels, dtype=torch.bool)
    return data.labelled_counts[data.labels] > 1


def choose_setting(
    data: TrainingData,
    fold_logits: Callable[[Tensor], Iterable[Tensor]],
    *,
    n_settings: int,
    default: int,
    n_folds: int,
    seed: int,
    criterion: Literal["accuracy", "cross-entropy"] = "accuracy",
) -> Choice:
    """K-fold cross-validation on the labelled rows, scored by macro accuracy, the figure that balanced tests show.

    Settings of equal macro accuracy, of which there are many with few rows, are told apart by the cross-entropy of the
    rows left out, balanced over classes; then the earlier one wins. With the criterion ``"cross-entropy"`` it decides
    alone, for methods whose settings hardly move the decision but set how confident it is.

    Rows that cannot be scored (`usable_rows`) have no say.

    Args:
        data: All labelled rows.
        fold_logits: For the mask of the rows to learn from, bool (n_labelled,), yields the logits (n_left_out, C) of
            the others, in their order, once per setting.
        n_settings: How many it yields.
        default: The setting to take where nothing can be left out.
        n_folds: K, at least 2.
        seed: Deals the rows.
        criterion: What is best.
    """

    def of_one_seed(keep: Sequence[Tensor]) -> Iterable[Sequence[Tensor]]:
        return ([logits] for logits in fold_logits(keep[0]))

    return choose_settings(
        data,
        of_one_seed,
        n_settings=n_settings,
        default=default,
        n_folds=n_folds,
        seeds=[seed],
        criterion=criterion,
    )[0]


def choose_scale(
    data: TrainingData,
    fold_scores: Callable[[Tensor], Tensor],
    *,
    scales: Sequence[float],
    default: float,
    n_folds: int,
    seed: int,
) -> tuple[float, Choice]:
    """What scores that say nothing of confidence are multiplied by: the scale under which left-out rows are likeliest.

    Args:
        data: All labelled rows.
        fold_scores: For the mask of the rows to learn from, as in `choose_setting`, the scores (n_left_out, C).
        scales: To choose from.
        default: Stands among them, and is taken where nothing can be left out.
        n_folds: K, at least 2.
        seed: Deals the rows.
    """
    every = sorted({*scales, default})

    def scaled(keep: Tensor) -> Iterable[Tensor]:
        scores = fold_scores(keep)
        return (scale * scores for scale in every)

    choice = choose_setting(
        data,
        scaled,
        n_settings=len(every),
        default=every.index(default),
        n_folds=n_folds,
        seed=seed,
        criterion="cross-entropy",
    )
    return every[choice.index], choice


def choose_settings(
    data: TrainingData,
    fold_logits: Callable[[Sequence[Tensor]], Iterable[Sequence[Tensor]]],
    *,
    n_settings: int,
    default: int,
    n_folds: int,
    seeds: Sequence[int],
    criterion: Literal["accuracy", "cross-entropy"] = "accuracy",
) -> list[Choice]:
    """`choose_setting` for several seeds at once, each of which deals the rows into folds of its own, equally large.

    Args:
        data: As there.
        fold_logits: For one mask for each seed yields once per setting the logits of each seed.
        n_settings: As there.
        default: As there.
        n_folds: As there.
        seeds: S seeds.
        criterion: As there.
    """
    counts = data.labelled_counts
    usable = usable_rows(data)
    if len(data.labels) < 2 or not usable.any():
        return [Choice(default, [])] * len(seeds)
    n_folds = min(n_folds, len(data.labels))
    folds = [stratified_folds(data.labels, n_folds, torch.Generator().manual_seed(seed)) for seed in seeds]
    weights = balanced_weights(data.labels, counts, usable)
    weights = weights / weights.sum()
    accuracy = torch.zeros(len(seeds), n_settings, dtype=torch.float64)
    loss = torch.zeros(len(seeds), n_settings, dtype=torch.float64)
    for fold in folds[0].unique():
        left_out = [each == fold for each in folds]
        truths = [(data.labels[each], weights[each]) for each in left_out]
        for setting, of_seeds in enumerate(fold_logits([~each for each in left_out])):
            for seed, (logits, (labels, weight)) in enumerate(zip(of_seeds, truths, strict=True)):
                accuracy[seed, setting] += (weight * (logits.argmax(-1) == labels)).sum().cpu()
                losses = cross_entropy(logits.double(), labels, reduction="none")
                loss[seed, setting] += (weight * losses).sum().cpu()
    # Sums of the same weights in another order may differ in their last bits and are ties nevertheless.
    floor = accuracy.amax(1, keepdim=True) - 1e-9 if criterion == "accuracy" else torch.zeros(len(seeds), 1)
    best = loss.masked_fill(accuracy < floor, torch.inf).argmin(1)
    return [Choice(index, of_seed) for index, of_seed in zip(best.tolist(), accuracy.tolist(), strict=True)]
