"""`self-training`: a logit-adjusted logistic regression that labels the rows it is sure of and learns again.

Source: Yarowsky, Unsupervised Word Sense Disambiguation Rivaling Supervised Methods, ACL 1995, as scikit-learn's
`SelfTrainingClassifier` does it with its defaults: in each of at most ten rounds every row that is still unlabelled and
whose most probable class has a probability above 0.75 gets this class, for good; rounds end where there is none. The
regression under it is minimised to the end, with a penalty on the distance from the text prototypes; its loss is
logit-adjusted (Menon et al., ICLR 2021) by the counts of labelled and pseudo-labelled rows together, which are known.
Probabilities are those of a uniform class prior.

The penalty is chosen on a decimal grid by cross-validated cross-entropy on the labelled rows, as in `sklearn-lr`.
Without text weights depart from zero. A class without labelled rows starts as its text. Without unlabelled rows what is
left is the regression.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from ulfine_cache.config import StrictConfig
from ulfine_fast.closed_form.text_anchored_probe import fit_text_anchored_probes
from ulfine_fast.method import FitResult, Method, unadjusted_prior
from ulfine_fast.models.affine_model import AffineModel
from ulfine_fast.rows.cross_validation import Choice, choose_setting
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class SelfTrainingSettings(StrictConfig):
    """Settings of `self-training`.

    Attributes:
        threshold: Probability above which a row is given its most probable class.
        rounds: How often, at most.
        tau: Strength of the logit adjustment in the loss.
        scale: Multiplies the cosine similarity to the text in the logits that weights depart from.
        penalties: Of the squared distance from there, in units of 50, beside the sum of all rows' losses, to choose
            from.
        default_penalty: The one taken where no labelled row can be left out.
        folds: Folds of the cross-validation that chooses.
    """

    threshold: float = Field(default=0.75, ge=0, le=1)
    rounds: int = Field(default=10, ge=0)
    tau: float = Field(default=1.0, ge=0)
    scale: float = Field(default=100.0, gt=0)
    penalties: tuple[float, ...] = Field(default=(1.0, 10.0, 100.0), min_length=1)
    default_penalty: float = Field(default=10.0, gt=0)
    folds: int = Field(default=5, ge=2)


def regression(
    features: Tensor,
    labels: Tensor,
    anchor: Tensor,
    penalty: float,
    settings: SelfTrainingSettings,
    start: Tensor | None = None,
) -> Tensor:
    """Weights (C, D) of the logit-adjusted regression on these rows; `start` saves time, nothing else."""
    everything = torch.ones(1, len(labels), dtype=torch.bool, device=labels.device)
    weight = penalty / max(len(labels), 1)
    return fit_text_anchored_probes(
        features,
        labels,
        anchor,
        everything,
        penalty=weight,
        tau=settings.tau,
        unseen=False,
        max_iter=200,
        tolerance=1e-6,
        start=None if start is None else start[None],
    )[0]


def anchor_of(data: TrainingData, settings: SelfTrainingSettings) -> Tensor:
    """What weights depart from, (C, D)."""
    if data.text is None:
        return data.features.new_zeros(data.n_classes, data.n_features)
    return settings.scale * data.text


def choose_penalty(data: TrainingData, settings: SelfTrainingSettings, seed: int) -> tuple[Choice, float]:
    """The penalty of the labelled rows alone."""
    anchor = anchor_of(data, settings)
    # Of the strongest first: each begins where the one before ended.
    penalties = sorted({*settings.penalties, settings.default_penalty}, reverse=True)

    def fold_logits(keep: Tensor) -> Iterator[Tensor]:
        weight = anchor
        for penalty in penalties:
            weight = regression(data.features[keep], data.labels[keep], anchor, penalty, settings, weight)
            yield data.features[~keep] @ weight.T

    choice = choose_setting(
        data,
        fold_logits,
        n_settings=len(penalties),
        default=penalties.index(settings.default_penalty),
        n_folds=settings.folds,
        seed=seed,
        criterion="cross-entropy",
    )
    return choice, penalties[choice.index]


def fit(data: TrainingData, settings: SelfTrainingSettings, seed: int, progress: Progress) -> FitResult:
    """Choose the penalty, then let the regression label row after row."""
    choice, penalty = choose_penalty(data, settings, seed)
    anchor = anchor_of(data, settings)
    features, labels = data.features, data.labels
    weight = regression(features, labels, anchor, penalty, settings)
    waiting = data.all_unlabelled
    history: list[dict[str, float]] = []
    for number in range(1, settings.rounds + 1):
        confidence, classes = torch.softmax(waiting @ weight.T, dim=-1).max(-1)
        sure = confidence > settings.threshold
        if not bool(sure.any()):
            break
        features, labels = torch.cat([features, waiting[sure]]), torch.cat([labels, classes[sure]])
        waiting = waiting[~sure]
        weight = regression(features, labels, anchor, penalty, settings, weight)
        history.append({"step": float(number), "pseudo_label_rate": 1 - len(waiting) / len(data.unlabelled)})
        progress.update("training", number, settings.rounds)
    return FitResult(
        model=AffineModel.of(weight, weight.new_zeros(data.n_classes)),
        history=history,
        diagnostics={
            "penalty": penalty,
            "pseudo_labelled": len(labels) - len(data.labels),
            "left_out_macro_accuracy": choice.macro_accuracy,
        },
    )


METHOD = Method(
    name="self-training",
    settings=SelfTrainingSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: AffineModel(**architecture),
    prior_power=unadjusted_prior,
    unlabelled=True,
)
