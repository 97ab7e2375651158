"""`gda`: Gaussian discriminant analysis on the features, fused with zero-shot. Closed form, nothing is trained.

Source: Wang et al., A Hard-to-Beat Baseline for Training-free CLIP-based Adaptation, ICLR 2024 (arXiv 2402.04087), and
its published code. Classes share one covariance `S`; its precision is the empirical Bayes ridge estimate of Kubokawa
and Srivastava, `D ((N - 1) S + tr(S) I)^-1`. All classes have the same prior, also where counts are long-tailed. The
logits are `100 x . t_k + alpha (x . w_k + b_k)` with alpha of the published grid.

The paper chooses alpha on a validation set; here it is cross-validated on the labelled rows. Without text the Gaussian
logits stand alone. The paper averages ten random crops of every image into its estimates; here a row is one view.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from ulfine_cache.config import StrictConfig
from ulfine_fast.method import FitResult, Method, square_matrices, uniform_prior
from ulfine_fast.models.affine_model import AffineModel
from ulfine_fast.rows.cross_validation import choose_setting, kept
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData

# The published code builds the mean of a class without images of its own from so many of the labelled images that are
# most similar to its text, and from so many copies of the text.
NEAREST_IMAGES, COPIES_OF_TEXT = 64, 16


class GdaSettings(StrictConfig):
    """Settings of `gda`.

    Attributes:
        scale: Multiplies the cosine similarity to the text in the zero-shot logits.
        alphas: Weights of the Gaussian logits to choose from.
        default_alpha: The one taken where no labelled row can be left out.
        folds: Folds of the cross-validation that chooses.
    """

    scale: float = Field(default=100.0, gt=0)
    alphas: tuple[float, ...] = Field(default=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0), min_length=1)
    default_alpha: float = Field(default=0.1, gt=0)
    folds: int = Field(default=5, ge=2)


def gaussian_discriminant(data: TrainingData) -> tuple[Tensor, Tensor]:
    """Weight and bias of the Gaussian logits.

    Returns:
        float64 (C, D) and (C,).
    """
    features = data.features.double()
    means = _class_means(data)
    centred = features - means[data.labels]
    if not bool((data.labelled_counts > 1).any()):  # one image per class shows no variance within classes
        centred = features - features.mean(0)
    width = data.n_features
    scatter = centred.T @ centred
    trace = scatter.trace() / max(len(features) - 1, 1)
    # Images that are all alike show no variance at all; then distances are Euclidean.
    ridge = trace if trace > 1e-12 else torch.ones_like(trace)
    identity = torch.eye(width, dtype=scatter.dtype, device=scatter.device)
    weight = width * torch.linalg.solve(scatter + ridge * identity, means.T).T
    return weight, -0.5 * (weight * means).sum(-1)


def _class_means(data: TrainingData) -> Tensor:
    features, counts = data.features.double(), data.labelled_counts.double()
    sums = features.new_zeros(data.n_classes, data.n_features).index_add_(0, data.labels, features)
    means = sums / counts.clamp_min(1.0)[:, None]
    missing = counts == 0
    if data.text is None:
        means[missing] = features.mean(0)  # happens within the cross-validation only
    else:
        text = data.text[missing].double()
        near = (text @ features.T).topk(min(NEAREST_IMAGES, len(features)), dim=-1).indices
        sums = features[near].sum(1) + COPIES_OF_TEXT * text
        means[missing] = sums / (near.shape[1] + COPIES_OF_TEXT)
    return means


def fit(data: TrainingData, settings: GdaSettings, seed: int, progress: Progress) -> FitResult:
    """Estimate means and precision, then choose the weight of the Gaussian logits."""
    weight, bias = gaussian_discriminant(data)
    if data.text is None:
        progress.update("training", 1, 1)
        return FitResult(model=AffineModel.of(weight, bias))
    text = settings.scale * data.text.double()
    alphas = sorted({*settings.alphas, settings.default_alpha})

    def fold_logits(keep: Tensor) -> Iterator[Tensor]:
        rows = data.features[~keep].double()
        fold_weight, fold_bias = gaussian_discriminant(kept(data, keep))
        gaussian, zero_shot = rows @ fold_weight.T + fold_bias, rows @ text.T
        for alpha in alphas:
            yield zero_shot + alpha * gaussian

    choice = choose_setting(
        data,
        fold_logits,
        n_settings=len(alphas),
        default=alphas.index(settings.default_alpha),
        n_folds=settings.folds,
        seed=seed,
    )
    alpha = alphas[choice.index]
    progress.update("training", 1, 1)
    return FitResult(
        model=AffineModel.of(text + alpha * weight, alpha * bias),
        diagnostics={"alpha": alpha, "left_out_macro_accuracy": choice.macro_accuracy},
    )


METHOD = Method(
    name="gda",
    settings=GdaSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: AffineModel(**architecture),
    prior_power=uniform_prior,
    # Scatter, identity, ridge, their sum and its factors, in float64.
    memory=square_matrices(10),
)
