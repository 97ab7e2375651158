"""`proker`: kernel ridge regression of what zero-shot leaves to be explained. Closed form.

Source: Bendou et al., ProKeR: A Kernel Perspective on Few-Shot Adaptation of Large Vision-Language Models, CVPR 2025,
and its published code. With cosines `x . t_k` to the text and the kernel `exp(-beta (1 - x . x_i))`, the scores are

    f_k(x) = x . t_k + sum_i exp(-beta (1 - x . x_i)) a_ik,   a = (K / lambda + I)^-1 (Y - S),

where `S` are the cosines of the labelled rows to the text and `Y` their labels, one-hot. beta and lambda come from the
published grids, 0.5 to 3 and 0.001 to 1, chosen by cross-validation on the labelled rows instead of validation rows;
six values of beta are tried instead of 20, since neighbours on the grid hardly differ. Where no row can be left out
they are those that the authors carry over from ImageNet, one shot.

The scores decide and say nothing of confidence, so the paper has no temperature. Here logits are the scores times the
scale under which the left-out rows are most probable. The paper averages crops of an image; here a row is one view.
Without text the directions of the labelled class means stand in for it, as in `zero-shot`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from ulfine_cache.config import StrictConfig
from ulfine_fast.gradient.heads import initial_prototypes
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.methods.tip_adapter import TipAdapterModel, cache_logits
from ulfine_fast.rows.cross_validation import choose_scale, choose_setting, kept
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class ProkerSettings(StrictConfig):
    """Settings of `proker`.

    Attributes:
        betas: Sharpnesses of the kernel to choose from.
        lambdas: Weights of the labels against the text to choose from.
        default_beta: The one taken where no labelled row can be left out.
        default_lambda: The one taken where no labelled row can be left out.
        scales: What the scores may be multiplied by, to choose from.
        default_scale: The one taken where no labelled row can be left out; CLIP's own.
        folds: Folds of the cross-validation that chooses.
    """

    betas: tuple[float, ...] = Field(default=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0), min_length=1)
    lambdas: tuple[float, ...] = Field(
        default=(0.001, 0.112, 0.223, 0.334, 0.445, 0.556, 0.667, 0.778, 0.889, 1.0), min_length=1
    )
    default_beta: float = Field(default=3.0, gt=0)
    default_lambda: float = Field(default=0.05, gt=0)
    scales: tuple[float, ...] = Field(default=(5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0), min_length=1)
    default_scale: float = Field(default=100.0, gt=0)
    folds: int = Field(default=5, ge=2)


def coefficients(data: TrainingData, beta: float) -> Callable[[float], Tensor]:
    """For lambda, `(K / lambda + I)^-1 (Y - S)`, float64 (N, C): one eigendecomposition serves all."""
    features = data.features.double()
    left = one_hot(data.labels, data.n_classes).double() - features @ initial_prototypes(data).double().T
    values, vectors = torch.linalg.eigh(torch.exp(beta * (features @ features.T - 1.0)))
    values, projected = values.clamp_min(0.0), vectors.T @ left
    return lambda strength: vectors @ (projected / (1.0 + values / strength)[:, None])


def fit(data: TrainingData, settings: ProkerSettings, seed: int, progress: Progress) -> FitResult:
    """Choose beta, lambda and scale, then solve with them on all labelled rows."""
    betas = sorted({*settings.betas, settings.default_beta})
    lambdas = sorted({*settings.lambdas, settings.default_lambda})
    pairs = list(product(betas, lambdas))

    def scores(keep: Tensor, wanted: list[tuple[float, float]]) -> Iterator[Tensor]:
        part, rows = kept(data, keep), data.features[~keep].double()
        zero_shot, similarities = rows @ initial_prototypes(part).double().T, rows @ part.features.double().T
        last, solve = None, None
        for beta, strength in wanted:
            if solve is None or beta != last:
                last, solve = beta, coefficients(part, beta)
            yield zero_shot + cache_logits(similarities, solve(strength), beta)

    choice = choose_setting(
        data,
        lambda keep: scores(keep, pairs),
        n_settings=len(pairs),
        default=pairs.index((settings.default_beta, settings.default_lambda)),
        n_folds=settings.folds,
        seed=seed,
    )
    beta, strength = pairs[choice.index]
    scale, _ = choose_scale(
        data,
        lambda keep: next(scores(keep, [(beta, strength)])),
        scales=settings.scales,
        default=settings.default_scale,
        n_folds=settings.folds,
        seed=seed,
    )
    model = TipAdapterModel(
        n_rows=len(data.labels), n_features=data.n_features, n_classes=data.n_classes, alpha=scale, beta=beta
    ).to(data.features.device)
    model.keys.copy_(data.features)
    model.values.copy_(coefficients(data, beta)(strength))
    model.text.copy_(scale * initial_prototypes(data))
    progress.update("training", 1, 1)
    diagnostics: dict[str, float] = {"beta": beta, "lambda": strength, "scale": scale}
    if choice.macro_accuracy:
        diagnostics["left_out_macro_accuracy"] = choice.macro_accuracy[choice.index]
    return FitResult(model=model.eval(), diagnostics=diagnostics)


METHOD = Method(
    name="proker",
    settings=ProkerSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: TipAdapterModel(**architecture),
    prior_power=uniform_prior,
)
