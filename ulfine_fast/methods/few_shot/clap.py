"""`clap`: a linear probe from the text prototypes, held to them class by class. Nothing is tuned.

Source: Silva-Rodríguez et al., A Closer Look at the Few-Shot Adaptation of Large Vision-Language Models, CVPR 2024
(arXiv 2312.12730), and its published code. A cosine head at CLIP's scale starts from the text and minimises

    CE(scale x . w_k / |w_k|, y) + mean_k a_k |w_k - t_k|^2,

where `a_k` is the mean probability that zero-shot gives to class k on the labelled rows of k: where text is right,
weights stay near it. Stochastic gradient descent with a rate of 0.1 along a cosine, momentum 0.9 and no decay, 300
passes. The published code draws batches of 256 of twenty crops of every image; here a row is one view and a step sees
all rows (as in the code of SS-Text-U, by the same authors), or 5,000 of them.

The published rate and the weight of the penalty belong to text features as the encoder gives them, which OpenAI's
models do at a length of about 10. Here text has length 1, so that the same training is one with a rate of `0.1 / 10^2`
and a penalty of `10^2 a_k`. With the published numbers on unit text weights are hardly held: on left-over pool rows
that costs 7 points of macro and 18 of tail accuracy.

A class without labelled rows has the mean `a_k` of the others. Without text the directions of the labelled class means
stand in for it, as in `zero-shot`. The loss is plain cross-entropy, so the logits answer for the labelled frequencies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from pydantic import Field
from torch import Tensor

from ulfine_fast.gradient.heads import LinearHeadModel, LinearHeadSettings, build, initial_prototypes, train_heads
from ulfine_fast.gradient.side_by_side import Axes
from ulfine_fast.method import FitResult, Method, unadjusted_prior

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class ClapSettings(LinearHeadSettings):
    """Settings of `clap`: those of `LinearHeadSettings` with the published values.

    Attributes:
        text_length: Length of the text features that the rate and the penalty are meant for.
        constraint: What multiplies the penalty; 1 is the published one, 0 leaves the plain probe (ZS-LP).
    """

    optimiser: Literal["adamw", "sgd"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=5000, ge=1)
    scale: float = Field(default=100.0, gt=0)
    cosine: bool = True
    initial: Literal["text", "zero"] = "text"
    text_length: float = Field(default=10.0, gt=0)
    constraint: float = Field(default=1.0, ge=0)


def penalties(data: TrainingData, scale: float) -> Tensor:
    """`a_k`, float32 (C,), of zero-shot's probabilities on the labelled rows."""
    zero_shot = torch.softmax(scale * data.features @ initial_prototypes(data).T, dim=-1)
    right = zero_shot.gather(1, data.labels[:, None])[:, 0]
    counts = data.labelled_counts
    sums = right.new_zeros(data.n_classes).index_add_(0, data.labels, right)
    means = sums / counts.clamp_min(1)
    return torch.where(counts > 0, means, means[counts > 0].mean())


def fit_seeds(data: TrainingData, settings: ClapSettings, seeds: Sequence[int], progress: Progress) -> list[FitResult]:
    """Train the head of each seed; where one step sees all rows, seeds differ in nothing."""
    unit = settings.text_length**2
    strength = unit * settings.constraint * penalties(data, settings.scale)
    settings = settings.model_copy(update={"learning_rate": settings.learning_rate / unit})
    starts: list[Tensor] = []

    def held_to_text(model: LinearHeadModel, axes: Axes) -> tuple[Tensor, Mapping[str, Tensor]]:
        # Before the first step the weights are the text prototypes, each model's own where there is none.
        if not starts:
            starts.append(model.weight.detach().clone())
        penalty = (strength * (model.weight - starts[0]).square().sum(-1)).mean(-1)
        return penalty, {"penalty": penalty.detach()}

    return train_heads(data, settings, seeds, progress, unlabelled=held_to_text)


METHOD = Method(
    name="clap",
    settings=ClapSettings,
    fit_seeds=fit_seeds,
    build=build,
    prior_power=unadjusted_prior,
    shared=True,
)
