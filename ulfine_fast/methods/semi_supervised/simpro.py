"""`simpro`: pseudo-labels under an estimated class prior, a loss adjusted by the prior of all that is learnt from.

Source: Du, Han and Huang, SimPro: A Simple Probabilistic Framework Towards Realistic Long-Tailed Semi-Supervised
Learning, ICML 2024 (arXiv 2402.13505), and its published code: EM for logits `z` that answer for a uniform prior.

    E: p = softmax(z + log pi_u) of the unlabelled rows, used where the largest is at least the threshold
    M: pi_u = the mean of those p;  pi = the class frequencies of labels and pseudo-labels together;
       z minimises the sum of CE(z + log pi, y) over labelled and pseudo-labelled rows, which all count the same.

`pi_u` is uniform in the first round. The paper trains a whole network by gradient and moves the priors a tenth at every
epoch. On a linear head, where the labelled rows are few and a step is cheap, that runs away: on left-over pool rows it
fell to a tenth of its accuracy with many unlabelled rows. Here each M step is therefore solved to the end, by the
regression of `self-training` with its penalty on the distance from the text, chosen in the same way; a pseudo-label is
the most probable class; and a row for each class is added to the sum under `pi_u`, so that no class is lost for ever.
Rounds end where no pseudo-label changes. The published threshold is 0.95; 0.7 is better on CLIP's features, as in
`fixmatch`.

Without text weights depart from zero. Without unlabelled rows what is left is the regression.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field

from ulfine_fast.method import FitResult, Method, unadjusted_prior
from ulfine_fast.methods.semi_supervised.self_training import (
    SelfTrainingSettings,
    anchor_of,
    choose_penalty,
    regression,
)
from ulfine_fast.models.affine_model import AffineModel
from ulfine_fast.priors.logit_adjustment import prior_range
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class SimProSettings(SelfTrainingSettings):
    """Settings of `simpro`: those of `self-training`.

    Attributes:
        threshold: Probability from which a pseudo-label counts.
    """

    threshold: float = Field(default=0.7, ge=0, le=1)


def fit(data: TrainingData, settings: SimProSettings, seed: int, progress: Progress) -> FitResult:
    """Choose the penalty, then alternate pseudo-labels and the regression."""
    choice, penalty = choose_penalty(data, settings, seed)
    anchor, unlabelled = anchor_of(data, settings), data.all_unlabelled
    weight = regression(data.features, data.labels, anchor, penalty, settings)
    prior = weight.new_full((data.n_classes,), 1.0 / data.n_classes)
    given = torch.full((len(unlabelled),), -1, device=unlabelled.device)
    history: list[dict[str, float]] = []
    for number in range(1, settings.rounds + 1):
        shares = torch.softmax(unlabelled @ weight.T + prior.log(), dim=-1)
        confidence, classes = shares.max(-1)
        pseudo_labels = torch.where(confidence >= settings.threshold, classes, -1)
        if torch.equal(pseudo_labels, given):
            break
        given, used = pseudo_labels, pseudo_labels >= 0
        counted = shares[used].sum(0) + 1.0
        prior = counted / counted.sum()
        weight = regression(
            torch.cat([data.features, unlabelled[used]]),
            torch.cat([data.labels, given[used]]),
            anchor,
            penalty,
            settings,
        )
        figures = {name: float(value) for name, value in prior_range(prior).items()}
        history.append({"step": float(number), "pseudo_label_rate": float(used.float().mean())} | figures)
        progress.update("training", number, settings.rounds)
    return FitResult(
        model=AffineModel.of(weight, weight.new_zeros(data.n_classes)),
        history=history,
        diagnostics={
            "penalty": penalty,
            "unlabelled_prior": dict(zip(data.class_names, prior.tolist(), strict=True)),
            "left_out_macro_accuracy": choice.macro_accuracy,
        },
    )


METHOD = Method(
    name="simpro",
    settings=SimProSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: AffineModel(**architecture),
    prior_power=unadjusted_prior,
    unlabelled=True,
)
