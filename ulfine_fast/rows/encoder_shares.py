"""How much each of several encoders counts: labelled rows that are left out decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ulfine_fast.rows.cross_validation import usable_rows
from ulfine_fast.rows.folds import balanced_weights, stratified_folds
from ulfine_fast.rows.streamed_rows import READ_ROWS
from ulfine_fast.rows.training_data import DescribedTrainingData

if TYPE_CHECKING:
    from ulfine_fast.rows.streamed_rows import StreamedViews
    from ulfine_fast.rows.training_data import TrainingData

N_FOLDS = 5
_PSEUDO_COUNT = 2.0
"""Rows that the text of a class counts for."""
_SCALES = (5.0, 10.0, 20.0, 40.0)
_FLOOR = 0.05
"""Added to every loss: below it rows are too few to tell encoders apart."""
_POWER = 1.5
"""Settled on unlabelled rows of WHU-RS19, seeds 100 to 109; ``benchmarks/encoders.py`` draws others."""


def of_each_encoder(data: TrainingData) -> list[TrainingData]:
    """What a method sees of each encoder alone; the whole data where there is one only."""
    if not isinstance(data, DescribedTrainingData) or not data.parts:
        return [data]
    ends = list(accumulate(data.parts))
    return [_part(data, slice(end - width, end)) for width, end in zip(data.parts, ends, strict=True)]


def _part(data: DescribedTrainingData, columns: slice) -> TrainingData:
    unlabelled, strong = data.unlabelled, data.strong_views
    if isinstance(unlabelled, Tensor):
        part = normalize(unlabelled[:, columns], dim=-1)
        # float16, as the whole ones are: whoever draws some brings them to unit length.
        views = None if strong is None else partial(_strong_part, strong, columns)
    else:
        part = unlabelled.part(columns)
        views = None if strong is None else part.strong_views
    return replace(
        data,
        part_widths=(),
        features=normalize(data.features[:, columns], dim=-1),
        unlabelled=part,
        text=None if data.text is None else normalize(data.text[:, columns], dim=-1),
        strong_views=views,
    )


def _strong_part(strong: Callable[[], Tensor | StreamedViews], columns: slice) -> Tensor:
    views = strong()
    assert isinstance(views, Tensor)
    return normalize(views[..., columns].float(), dim=-1).to(views.dtype)


def choose_encoder_shares(encoders: list[TrainingData], seed: int) -> list[float]:
    """Weigh encoders by what class means that start at the text say of left-out labelled rows.

    Shares are in inverse proportion to a power of the balanced cross-entropies: a smooth rule, the same for all
    methods, because few rows cannot tell which single value is best.

    Args:
        encoders: The same rows by each encoder, of `of_each_encoder`.
        seed: Deals the rows into folds.

    Returns:
        Shares with the sum 1; equal ones where nothing can be left out.
    """
    first = encoders[0]
    usable = usable_rows(first)
    if len(first.labels) < 2 or not usable.any():
        return [1 / len(encoders)] * len(encoders)
    generator = torch.Generator().manual_seed(seed)
    folds = stratified_folds(first.labels, min(N_FOLDS, len(first.labels)), generator)
    weights = balanced_weights(first.labels, first.labelled_counts, usable)
    weights = (weights / weights.sum()).float()
    shares = torch.tensor([(_left_out_loss(data, folds, weights) + _FLOOR) ** -_POWER for data in encoders])
    return (shares / shares.sum()).tolist()


def _mean_row(data: TrainingData) -> Tensor:
    """The mean of the labelled and the unlabelled rows."""
    if isinstance(data.unlabelled, Tensor):
        return torch.cat([data.features, data.unlabelled]).mean(0)
    total = data.features.double().sum(0)
    for block in data.unlabelled.split(READ_ROWS):
        total += block.double().sum(0)
    return (total / (len(data.features) + len(data.unlabelled))).float()


def _left_out_loss(data: TrainingData, folds: Tensor, weights: Tensor) -> float:
    """Cross-entropy of left-out rows at the best scale, every class counting the same."""
    features = data.features
    centre = _mean_row(data)
    anchors = centre.expand(data.n_classes, -1)
    if data.text is not None:
        anchors = centre + data.text - data.text.mean(0)
    similarities = torch.zeros(len(features), data.n_classes, device=features.device)
    for fold in folds.unique():
        keep = folds != fold
        counts = torch.bincount(data.labels[keep], minlength=data.n_classes)[:, None]
        sums = torch.zeros_like(anchors).index_add_(0, data.labels[keep], features[keep])
        means = (sums + _PSEUDO_COUNT * anchors) / (counts + _PSEUDO_COUNT)
        similarities[~keep] = normalize(features[~keep] - centre, dim=-1) @ normalize(means - centre, dim=-1).T
    losses = [cross_entropy(scale * similarities, data.labels, reduction="none") for scale in _SCALES]
    return min(float((weights * loss).sum()) for loss in losses)
