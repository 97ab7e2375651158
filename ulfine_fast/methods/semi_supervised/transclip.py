"""`transclip`: a Gaussian mixture on the rows, tied to the zero-shot predictions and to a neighbourhood graph.

Source: Zanella, Gérin and Ben Ayed, Boosting Vision-Language Models with Transduction, NeurIPS 2024 (arXiv 2406.01837),
few-shot setting, and its published code. Unlabelled rows i have assignments `z_i`, classes a mean `mu_k` of unit length
and all of them one diagonal covariance. Ten rounds alternate

    z_ik ~ y_ik^lambda exp((log p_ik + 50 / (2 * 3) sum_j w_ij z_jk) / 50),   five times,
    mu_k, covariance = moments of the unlabelled rows (weights z_ik / n_u) and the labelled ones (50 gamma / n_l),

where `y` are the zero-shot probabilities, `log p_ik = -0.5 (x_i - mu_k)^2 / variance`, and `w` the cosines to the three
nearest unlabelled rows, in both directions; labelled rows hand on their labels along it. The published values stand:
lambda 0.5, and gamma one of 0.002, 0.01, 0.02 and 0.2, which the paper chooses on validation rows and this project by
cross-validation on the labelled ones.

The paper answers for the rows of the mixture alone. Here new rows have to be answered for one by one, so the last
mixture classifies them: `lambda log y_k + log p_k / 50`, affine in the features. What a graph with the judged rows in
it would add is left out, because a row's answer would then depend on which others come with it.

A class without labelled rows starts at the mean of the eight unlabelled rows that zero-shot is surest of (the paper's
start where nothing is labelled). Without text the directions of the labelled class means stand in for it, as in
`zero-shot`. Without unlabelled rows the mixture has the moments of the labelled ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ulfine_cache.config import StrictConfig
from ulfine_fast.gradient.heads import initial_prototypes
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.models.affine_model import AffineModel
from ulfine_fast.models.neighbour_vote import SIMILARITIES_AT_ONCE
from ulfine_fast.rows.cross_validation import choose_setting, kept
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData

SHARPNESS = 50.0
"""What the published code divides the likelihood by, and multiplies the graph and the labelled rows by."""

INNER_ROUNDS = 5
SUREST = 8
SMALLEST_VARIANCE = 1e-6
"""Of a coordinate: rows that are all alike have none. In unit vectors of width D coordinates have about 1 / D."""


class TransClipSettings(StrictConfig):
    """Settings of `transclip`.

    Attributes:
        scale: Multiplies the cosine similarity to the text in the zero-shot probabilities.
        text_weight: lambda, the power of the zero-shot probabilities.
        gammas: Weights of the labelled rows to choose from.
        default_gamma: The one taken where no labelled row can be left out.
        neighbours: Nearest unlabelled rows in the graph.
        rounds: Rounds of assignments and moments.
        folds: Folds of the cross-validation that chooses gamma.
    """

    scale: float = Field(default=100.0, gt=0)
    text_weight: float = Field(default=0.5, ge=0)
    gammas: tuple[float, ...] = Field(default=(0.002, 0.01, 0.02, 0.2), min_length=1)
    default_gamma: float = Field(default=0.02, gt=0)
    neighbours: int = Field(default=3, ge=1)
    rounds: int = Field(default=10, ge=1)
    folds: int = Field(default=5, ge=2)


def nearest(rows: Tensor, among: Tensor, k: int, *, themselves: bool) -> tuple[Tensor, Tensor]:
    """Numbers, int64 (N, k), and cosines, float (N, k), of the nearest of some rows, fewer where there are fewer.

    Args:
        rows: float (N, D), unit length.
        among: float (M, D), unit length.
        k: How many.
        themselves: Whether both are the same rows, of which none is its own neighbour.
    """
    k = max(0, min(k, len(among) - themselves))
    numbers, cosines = rows.new_empty(len(rows), k, dtype=torch.int64), rows.new_empty(len(rows), k)
    size = max(1, SIMILARITIES_AT_ONCE // max(1, len(among)))
    for start in range(0, len(rows) if k else 0, size):
        similarities = rows[start : start + size] @ among.T
        if themselves:
            similarities.diagonal(start).fill_(-torch.inf)
        cosines[start : start + size], numbers[start : start + size] = similarities.topk(k, dim=-1)
    return numbers, cosines


def _both_ways(numbers: Tensor, cosines: Tensor) -> Tensor:
    """The edges of rows to rows of the same set, and back, as one sparse matrix (N, N)."""
    ends = torch.stack([torch.arange(len(numbers), device=numbers.device).repeat_interleave(numbers.shape[1]),
                        numbers.flatten()])  # fmt: skip
    edges, weights = torch.cat([ends, ends.flip(0)], dim=1), cosines.flatten().repeat(2)
    return torch.sparse_coo_tensor(edges, weights, (len(numbers), len(numbers)), check_invariants=False).coalesce()


@dataclass(frozen=True)
class _Problem:
    """What the mixture is fitted to, apart from gamma.

    Attributes:
        features: float (n_l, D), labelled rows.
        truth: float (n_l, C), their labels, one-hot.
        unlabelled: float (n_u, D).
        prototypes: float (C, D), text.
        text_logits: float (n_u, C), of zero-shot on the unlabelled rows.
        graph: Sparse (n_u, n_u).
        taught: float (n_u, C), what labelled rows hand on along the graph.
    """

    features: Tensor
    truth: Tensor
    unlabelled: Tensor
    prototypes: Tensor
    text_logits: Tensor
    graph: Tensor
    taught: Tensor


def _start(problem: _Problem, z: Tensor) -> Tensor:
    """Means before the first round, unit length, (C, D)."""
    means = problem.truth.T @ problem.features
    missing = torch.nonzero(problem.truth.sum(0) == 0)[:, 0]
    if len(missing):
        # Zero prototypes are those of a fold that left out all rows of a class, where there is no text.
        means[missing] = problem.prototypes[missing] + 1e-6 * problem.features.mean(0)
        if len(z):
            surest = z[:, missing].topk(min(SUREST, len(z)), dim=0)
            means[missing] = (surest.values[:, :, None] * problem.unlabelled[surest.indices]).sum(0)
    return normalize(means, dim=-1)


def _log_likelihood(rows: Tensor, means: Tensor, variance: Tensor) -> Tensor:
    """`-0.5 (x - mu_k)^2 / variance` but for what all classes share, (N, C)."""
    return rows @ (means / variance).T - 0.5 * (means.square() / variance).sum(-1)


def fit_mixture(problem: _Problem, gamma: float, settings: TransClipSettings) -> tuple[Tensor, Tensor]:
    """Means (C, D) of unit length and the variance (D,) after all rounds."""
    rows, truth, n_unlabelled = problem.unlabelled, problem.truth, len(problem.unlabelled)
    labelled_weight = gamma * SHARPNESS / len(truth)
    labelled_mass, labelled_sums = labelled_weight * truth.sum(0), labelled_weight * truth.T @ problem.features
    # Moments are of `x^2`, `x` and 1, so that no difference of a row and a mean is ever held for all classes.
    labelled_squares = labelled_weight * problem.features.square().sum(0)
    z = torch.softmax(problem.text_logits, dim=-1)
    prior = settings.text_weight * torch.log_softmax(problem.text_logits, dim=-1)
    means = _start(problem, z)
    variance = means.new_full((means.shape[1],), 1.0 / means.shape[1])
    pull = SHARPNESS / (2.0 * settings.neighbours)
    for _ in range(settings.rounds):
        likelihood = _log_likelihood(rows, means, variance)
        for _ in range(INNER_ROUNDS):
            from_others = torch.sparse.mm(problem.graph, z) + problem.taught
            z = torch.softmax(prior + (likelihood + pull * from_others) / SHARPNESS, dim=-1)
        shares = z / max(n_unlabelled, 1)
        mass, sums = shares.sum(0) + labelled_mass, shares.T @ rows + labelled_sums
        seen = mass > 1e-12
        means = torch.where(seen[:, None], normalize(sums, dim=-1), means)
        squares = (shares.sum(1)[:, None] * rows.square()).sum(0) + labelled_squares
        spread = squares - 2.0 * (means * sums).sum(0) + (mass[:, None] * means.square()).sum(0)
        variance = (spread / mass.sum()).clamp_min(SMALLEST_VARIANCE)
    return means, variance


def fit(data: TrainingData, settings: TransClipSettings, seed: int, progress: Progress) -> FitResult:
    """Choose gamma, fit the mixture with it, and keep what classifies new rows."""
    features, unlabelled = data.features, data.all_unlabelled
    truth = one_hot(data.labels, data.n_classes).to(features)
    graph = _both_ways(*nearest(unlabelled, unlabelled, settings.neighbours, themselves=True))
    numbers, cosines = nearest(features, unlabelled, settings.neighbours, themselves=False)
    gammas = sorted({*settings.gammas, settings.default_gamma})

    def problem(keep: Tensor) -> _Problem:
        prototypes = initial_prototypes(kept(data, keep))
        handed_on = cosines[keep, :, None] * truth[keep, None, :]
        taught = torch.zeros(len(unlabelled), data.n_classes, device=features.device)
        taught.index_add_(0, numbers[keep].flatten(), handed_on.flatten(0, 1))
        logits = settings.scale * unlabelled @ prototypes.T
        return _Problem(features[keep], truth[keep], unlabelled, prototypes, logits, graph, taught)

    def affine(problem: _Problem, gamma: float) -> tuple[Tensor, Tensor]:
        means, variance = fit_mixture(problem, gamma, settings)
        weight = settings.text_weight * settings.scale * problem.prototypes + means / variance / SHARPNESS
        return weight, -0.5 * (means.square() / variance).sum(-1) / SHARPNESS

    def fold_logits(keep: Tensor) -> Iterator[Tensor]:
        fold = problem(keep)
        for gamma in gammas:
            weight, bias = affine(fold, gamma)
            yield features[~keep] @ weight.T + bias

    choice = choose_setting(
        data,
        fold_logits,
        n_settings=len(gammas),
        default=gammas.index(settings.default_gamma),
        n_folds=settings.folds,
        seed=seed,
    )
    gamma = gammas[choice.index]
    weight, bias = affine(problem(torch.ones_like(data.labels, dtype=torch.bool)), gamma)
    progress.update("training", 1, 1)
    return FitResult(
        model=AffineModel.of(weight, bias),
        diagnostics={"gamma": gamma, "left_out_macro_accuracy": choice.macro_accuracy},
    )


METHOD = Method(
    name="transclip",
    settings=TransClipSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: AffineModel(**architecture),
    prior_power=uniform_prior,
    unlabelled=True,
)
