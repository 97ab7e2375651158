"""How much each of several encoders counts: labelled rows that are left out decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ulfine_fast.models.weighted_parts import part_scale
from ulfine_fast.rows.cross_validation import usable_rows
from ulfine_fast.rows.folds import balanced_weights, stratified_folds

if TYPE_CHECKING:
    from ulfine_fast.rows.training_data import TrainingData

N_FOLDS = 5
_PSEUDO_COUNT = 2.0
"""Rows that the text of a class counts for."""
_SCALES = (5.0, 10.0, 20.0, 40.0)
_FLOOR = 0.05
"""Added to every loss: below it rows are too few to tell encoders apart."""
_POWER = 1.0


def choose_part_weights(data: TrainingData, seed: int) -> list[float]:
    """Weigh the encoders of joined features.

    Each encoder alone classifies left-out labelled rows by class means that start at the text. The shares of the
    squared lengths are in inverse proportion to the balanced cross-entropies: a smooth rule, because few rows cannot
    tell which single value is best.

    Args:
        data: With `parts`.
        seed: Deals the rows into folds.

    Returns:
        A factor for each part; their squares have the mean 1. All 1 where nothing can be left out.
    """
    usable = usable_rows(data)
    if len(data.labels) < 2 or not usable.any():
        return [1.0] * len(data.parts)
    generator = torch.Generator().manual_seed(seed)
    folds = stratified_folds(data.labels, min(N_FOLDS, len(data.labels)), generator)
    weights = balanced_weights(data.labels, data.labelled_counts, usable)
    weights = (weights / weights.sum()).float()
    columns = torch.arange(data.n_features).split(list(data.parts))
    losses = [_left_out_loss(data, part, folds, weights) for part in columns]
    shares = torch.tensor([(loss + _FLOOR) ** -_POWER for loss in losses])
    return (len(losses) * shares / shares.sum()).sqrt().tolist()


def stretched(data: TrainingData, weights: list[float]) -> TrainingData:
    """The same data with each part of the features and of the text multiplied by its weight."""
    scale = part_scale(data.parts, weights).to(data.features.device)
    assert isinstance(data.unlabelled, Tensor)
    return replace(
        data,
        features=data.features * scale,
        unlabelled=data.unlabelled * scale,
        text=None if data.text is None else normalize(data.text * scale, dim=-1),
    )


def _left_out_loss(data: TrainingData, columns: Tensor, folds: Tensor, weights: Tensor) -> float:
    """Cross-entropy of left-out rows at the best scale, every class counting the same."""
    columns = columns.to(data.features.device)
    features = normalize(data.features[:, columns], dim=-1)
    centre = features.mean(0)
    if isinstance(data.unlabelled, Tensor) and len(data.unlabelled):
        centre = torch.cat([features, normalize(data.unlabelled[:, columns], dim=-1)]).mean(0)
    anchors = centre.expand(data.n_classes, -1)
    if data.text is not None:
        text = normalize(data.text[:, columns], dim=-1)
        anchors = centre + text - text.mean(0)
    similarities = torch.zeros(len(features), data.n_classes, device=features.device)
    for fold in folds.unique():
        keep = folds != fold
        counts = torch.bincount(data.labels[keep], minlength=data.n_classes)[:, None]
        sums = torch.zeros_like(anchors).index_add_(0, data.labels[keep], features[keep])
        means = (sums + _PSEUDO_COUNT * anchors) / (counts + _PSEUDO_COUNT)
        similarities[~keep] = normalize(features[~keep] - centre, dim=-1) @ normalize(means - centre, dim=-1).T
    losses = [cross_entropy(scale * similarities, data.labels, reduction="none") for scale in _SCALES]
    return min(float((weights * loss).sum()) for loss in losses)
