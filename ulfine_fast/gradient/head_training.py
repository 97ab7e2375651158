"""The training behind `lp`, `lft` and kin: heads with logit-adjusted cross-entropy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ulfine_fast.gradient.gradient_training import Batch, Loss, Problems, train_side_by_side
from ulfine_fast.gradient.heads import LinearHeadConfig, LinearHeadModel, new_head
from ulfine_fast.gradient.side_by_side import Axes
from ulfine_fast.method import FitResult
from ulfine_fast.priors.logit_adjustment import logit_adjusted_cross_entropy

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData

UnlabelledTerm = Callable[[LinearHeadModel, Axes], tuple[Tensor, Mapping[str, Tensor]]]
"""What unlabelled rows add to the loss in a step: one loss for each model, and figures for the history, likewise."""


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
    """Train one head for each seed, all in the same steps (`train_side_by_side`).

    Args:
        data: Labelled rows; `unlabelled` knows its own.
        config: Settings.
        seeds: S seeds.
        progress: Told about the steps.
        unlabelled: Another term of the loss.
        diagnostics: What every result tells besides.
    """

    def losses(problems: Problems[LinearHeadModel]) -> Loss:
        prior = problems.prior

        def loss_of(batch: Batch, number: int) -> tuple[Tensor, Mapping[str, Tensor]]:
            logits = problems.model.logits(batch.features)
            loss = logit_adjusted_cross_entropy(logits, batch.labels, prior, config.tau, batch.weights)
            figures = {"loss": loss.detach()}
            if unlabelled is None:
                return loss, figures
            term, more = unlabelled(problems.model, problems.axes)
            return loss + term, {**figures, **more}

        return loss_of

    return train_side_by_side(
        data,
        config,
        seeds,
        progress,
        new_model=lambda rows, generator: new_head(rows, config, generator),
        losses=losses,
        diagnostics=lambda seed, model: diagnostics or {},
    )
