"""`fixmatch`: confident pseudo-labels of weak views train the strong views, on cached features.

Source: Sohn et al., FixMatch: Simplifying Semi-Supervised Learning with Consistency and Confidence, NeurIPS 2020. The
loss is `l_s + lambda_u mean([max q >= threshold] CE(strong, argmax q))` with lambda_u 1 and seven unlabelled rows per
labelled one. The head is that of `lp-la`: cosine, from the text prototypes, the labelled loss logit-adjusted; the
pseudo-labels come from the head itself, which the adjustment leaves unbiased.

The weak view is the first of the cache. Of a cache made with ``--views weak-strong:K`` the strong view is one of its K,
drawn anew in each step; where the cache holds one view, it is the feature with Gaussian noise, brought back to unit
length, which is this project's choice (`ulfine_fast.gradient.strong_views`). FixMatch's threshold is 0.95. The default
here is 0.7, because with CLIP 0.6 to 0.7 is better (LoFT: Parameter-Efficient Fine-Tuning for Long-tailed
Semi-Supervised Learning, 2025, on CIFAR-100-LT: 0.6 gives 78.8, 0.95 gives 75.3); `threshold=0.95` is the
published one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from ulfine_fast.gradient.batches import unlabelled_batches
from ulfine_fast.gradient.heads import LinearHeadModel, build, train_heads
from ulfine_fast.gradient.pseudo_labels import confident_pseudo_labels, masked_cross_entropy
from ulfine_fast.gradient.side_by_side import Axes
from ulfine_fast.gradient.strong_views import Source, strong_views
from ulfine_fast.method import FitResult, Method, unadjusted_prior
from ulfine_fast.methods.lp_la import LogitAdjustedProbeSettings
from ulfine_fast.priors.logit_adjustment import prior_range

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class FixMatchSettings(LogitAdjustedProbeSettings):
    """Settings of `fixmatch`: those of `lp-la` and of the unlabelled loss.

    Attributes:
        threshold: Confidence from which a pseudo-label counts.
        unlabelled_weight: lambda_u.
        unlabelled_ratio: Unlabelled rows per labelled row of a batch.
        strong_views: ``"cached"``, ``"noise"``, or ``"auto"``: cached ones where there are some.
        strong_noise: Expected length of the noise in the strong view; a feature has length 1.
    """

    threshold: float = Field(default=0.7, ge=0, le=1)
    unlabelled_weight: float = Field(default=1.0, ge=0)
    unlabelled_ratio: int = Field(default=7, ge=1)
    strong_views: Source = "auto"
    strong_noise: float = Field(default=0.25, ge=0)


def unlabelled_loss(weak: Tensor, strong: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The loss on unlabelled rows and the share of pseudo-labels that count, both scalars, of logits (N, C).

    Of models side by side, (..., N, C), they are (...).
    """
    classes, counts = confident_pseudo_labels(weak.detach(), threshold)
    return masked_cross_entropy(strong, classes, counts), counts.float().mean(-1)


def fit_seeds(
    data: TrainingData, settings: FixMatchSettings, seeds: Sequence[int], progress: Progress
) -> list[FitResult]:
    """Train on labelled and unlabelled rows; the last step is the model. Without unlabelled rows this is `lp-la`."""
    if data.strong_views is not None:
        data = replace(data, strong_views=cache(data.strong_views))  # all seeds draw from the same ones
    # Streams of their own, so that the labelled batches are those of `lp-la`.
    views = [
        strong_views(data, settings.strong_views, settings.strong_noise, torch.Generator().manual_seed(seed + 1))
        for seed in seeds
    ]
    size = settings.unlabelled_ratio * min(settings.batch_size, len(data.labels))
    draws = [unlabelled_batches(data.unlabelled, size, torch.Generator().manual_seed(seed + 2)) for seed in seeds]

    def consistency(model: LinearHeadModel, axes: Axes) -> tuple[Tensor, dict[str, Tensor]]:
        rows = [next(draw) for draw in draws]
        weak = axes.batch([data.unlabelled[row.to(data.labels.device)] for row in rows])
        with torch.no_grad():
            weak_logits = model.logits(weak)
        strong = axes.batch([view(row) for (view, _), row in zip(views, rows, strict=True)])
        loss, used = unlabelled_loss(weak_logits, model.logits(strong), settings.threshold)
        figures = {"unlabelled_loss": loss.detach(), "pseudo_label_rate": used}
        figures |= prior_range(torch.softmax(weak_logits, dim=-1).mean(-2))
        return settings.unlabelled_weight * loss, figures

    return train_heads(
        data,
        settings,
        seeds,
        progress,
        unlabelled=consistency if len(data.unlabelled) else None,
        diagnostics=views[0][1],
    )


METHOD = Method(
    name="fixmatch",
    settings=FixMatchSettings,
    fit_seeds=fit_seeds,
    build=build,
    prior_power=unadjusted_prior,
    unlabelled=True,
    shared=True,
)
