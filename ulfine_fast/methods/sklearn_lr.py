"""`sklearn-lr`: scikit-learn's LogisticRegression with balanced class weights, the first thing a practitioner tries.

It sees the labelled rows and nothing else, neither text nor unlabelled rows. Features stay of unit length, for which
scikit-learn's default `C=1` is a strong penalty, so C is chosen on a decimal grid by cross-validated cross-entropy on
the labelled rows. `LogisticRegressionCV(scoring="neg_log_loss")` does the same, but needs rows of every class in every
fold. Everything else is as in scikit-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from ulfine_cache.config import StrictConfig
from ulfine_fast.closed_form.row_space import row_space
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.models.affine_model import AffineModel
from ulfine_fast.rows.cross_validation import choose_setting, kept
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData

# The logit of a class without labelled rows. Those of the others sum to zero, so the largest is never below zero.
NEVER = -20.0


class SklearnLogisticRegressionSettings(StrictConfig):
    """Settings of `sklearn-lr`.

    Attributes:
        cs: Inverse penalties to choose from.
        default_c: The one taken where no labelled row can be left out.
        max_iter: Steps of L-BFGS.
        folds: Folds of the cross-validation that chooses.
    """

    cs: tuple[float, ...] = Field(default=(0.1, 1.0, 10.0, 100.0, 1000.0), min_length=1)
    default_c: float = Field(default=1.0, gt=0)
    max_iter: int = Field(default=1000, ge=1)
    folds: int = Field(default=5, ge=2)


def fit(data: TrainingData, settings: SklearnLogisticRegressionSettings, seed: int, progress: Progress) -> FitResult:
    """Choose C and fit with it on all labelled rows."""
    cs = sorted({*settings.cs, settings.default_c})

    def fold_logits(keep: Tensor) -> Iterator[Tensor]:
        rows = data.features[~keep].double()
        for weight, bias in _path(kept(data, keep), cs, settings.max_iter):
            yield rows @ weight.T + bias

    choice = choose_setting(
        data,
        fold_logits,
        n_settings=len(cs),
        default=cs.index(settings.default_c),
        n_folds=settings.folds,
        seed=seed,
        # Separable classes are told apart as well with weights near zero, whose probabilities say nothing.
        criterion="cross-entropy",
    )
    c = cs[choice.index]
    weight, bias = next(_path(data, [c], settings.max_iter))
    progress.update("training", 1, 1)
    return FitResult(
        model=AffineModel.of(weight, bias),
        diagnostics={"c": c, "left_out_macro_accuracy": choice.macro_accuracy},
    )


def _path(data: TrainingData, cs: list[float], max_iter: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight (C, D) and bias (C,) for rising C, each fit starting from the one before; float64."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    device = data.features.device
    # The penalty keeps the weights in the span of the rows: fewer rows than dimensions make smaller problems.
    basis = row_space(data.features.double())
    rows = data.features.double() if basis is None else data.features.double() @ basis
    features, labels = rows.cpu().numpy(), data.labels.cpu().numpy()
    present = data.labels.unique()
    model = LogisticRegression(class_weight="balanced", max_iter=max_iter, warm_start=True)
    for c in cs:
        weight = torch.zeros(data.n_classes, data.n_features, dtype=torch.float64, device=device)
        bias = torch.full((data.n_classes,), NEVER, dtype=torch.float64, device=device)
        bias[present] = 0.0
        if len(present) > 1:
            model.set_params(C=c)
            with warnings.catch_warnings():
                # Where the classes are separable a large C has its optimum far away; the last step counts.
                warnings.simplefilter("ignore", ConvergenceWarning)
                warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
                model.fit(features, labels)
            coefficients = torch.as_tensor(model.coef_, device=device)
            coefficients = coefficients if basis is None else coefficients @ basis.T
            intercepts = torch.as_tensor(model.intercept_, device=device)
            if len(present) == 2:  # scikit-learn then gives one row: the logit of the second class against the first
                coefficients = torch.cat([-coefficients, coefficients]) / 2
                intercepts = torch.cat([-intercepts, intercepts]) / 2
            weight[present], bias[present] = coefficients, intercepts
        yield weight, bias


METHOD = Method(
    name="sklearn-lr",
    settings=SklearnLogisticRegressionSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: AffineModel(**architecture),
    prior_power=uniform_prior,
)
