"""Choosing a method's settings on labelled rows that it did not see: the same budget and the same rule for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ulfine_fast.folds import balanced_weights, stratified_folds

if TYPE_CHECKING:
    from ulfine_fast.training_data import TrainingData


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
    return replace(data, features=data.features[keep], labels=data.labels[keep])


def usable_rows(data: TrainingData) -> Tensor:
    """Which labelled rows can be judged when they are left out, bool (n_labelled,).

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
    """K-fold cross-validation on the labelled rows, judged by macro accuracy, the figure that balanced tests show.

    Settings of equal macro accuracy, of which there are many with few rows, are told apart by the cross-entropy of the
    rows left out, balanced over classes; then the earlier one wins. With the criterion ``"cross-entropy"`` it decides
    alone, for methods whose settings hardly move the decision but set how confident it is.

    Rows that cannot be judged (`usable_rows`) have no say.

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
    counts = data.labelled_counts
    usable = usable_rows(data)
    if len(data.labels) < 2 or not usable.any():
        return Choice(default, [])
    folds = stratified_folds(data.labels, min(n_folds, len(data.labels)), torch.Generator().manual_seed(seed))
    weights = balanced_weights(data.labels, counts, usable)
    weights = weights / weights.sum()
    accuracy = torch.zeros(n_settings, dtype=torch.float64)
    loss = torch.zeros(n_settings, dtype=torch.float64)
    for fold in folds.unique():
        left_out = folds == fold
        labels, weight = data.labels[left_out], weights[left_out]
        for setting, logits in enumerate(fold_logits(~left_out)):
            accuracy[setting] += (weight * (logits.argmax(-1) == labels)).sum().cpu()
            loss[setting] += (weight * cross_entropy(logits.double(), labels, reduction="none")).sum().cpu()
    # Sums of the same weights in another order may differ in their last bits and are ties nevertheless.
    best = accuracy >= (accuracy.max() - 1e-9 if criterion == "accuracy" else 0.0)
    return Choice(int(loss.masked_fill(~best, torch.inf).argmin()), accuracy.tolist())
