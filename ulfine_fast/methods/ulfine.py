"""`ulfine`, the default: adapter, prototype fitting (PAF), probe and fusion (DLF), each in closed form or convex.

1. Labelled rows are dealt into folds. Everything below is done for all labelled rows and once without each fold.
2. Adapter and prototypes: `ulfine_fast.gaussian_prototypes` on the labelled rows.
3. Probe: `ulfine_fast.text_anchored_probe` on the labelled rows.
4. Fusion weights: `ulfine_fast.logit_fusion` on the rows each fold left out.
5. Rounds of EM: the fused logits give every unlabelled row soft pseudo-labels, under a class prior of the unlabelled
   rows that is estimated along the way (Saerens et al., Adjusting the outputs of a classifier to new a priori
   probabilities, 2002); the prototypes are fitted again with them.
6. Fusion weights again.

Left-out rows may overrule two steps, when they speak clearly (by two standard errors): the adapter falls back to the
identity, and the unlabelled rows are left alone.

Published are PAF and DLF as ideas (arXiv 2505.05062); every form here is this project's decision, see `docs/method.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from ulfine_cache.config import StrictConfig
from ulfine_fast.folds import balanced_weights, stratified_folds
from ulfine_fast.fused_model import FusedModel
from ulfine_fast.gaussian_prototypes import Moments, Prototypes, fit_prototypes, labelled_moments, second_moment
from ulfine_fast.logit_fusion import align, fit_fusion_weights, fuse
from ulfine_fast.method import FitResult, Method
from ulfine_fast.text_anchored_probe import fit_text_anchored_probe

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.training_data import TrainingData


class UlfineConfig(StrictConfig):
    """Settings of `ulfine`.

    Attributes:
        adapter: Whether features are adapted by the shared covariance; without it, and where left-out labelled rows
            clearly prefer it, the adapter is the identity.
        shrinkage: How far that covariance is shrunk towards the identity, in (0, 1].
        paf: Whether prototypes are fitted to images; without it the anchors that text predicts stay.
        pseudo_count: Images that an anchor is worth.
        anchor_ridge: Penalty of the map from text to anchors.
        dlf: Whether the probe and the raw text take part; without it the fitted prototypes decide alone.
        probe_penalty: Penalty on the probe's distance from the text prototypes.
        tau: Strength of the logit adjustment in the probe's loss.
        unlabelled: Whether unlabelled rows are used.
        unlabelled_weight: What a pseudo-labelled row counts, relative to a labelled one.
        pseudo_label_temperature: Pseudo-labels are the softmax of the fused logits over this. Below 1 sharpens, as in
            MixMatch (Berthelot et al., NeurIPS 2019, equation 7, T = 0.5).
        rounds: Rounds of EM.
        folds: Folds of the cross-validation that sets the fusion weights.
    """

    adapter: bool = True
    shrinkage: float = Field(default=0.5, gt=0, le=1)
    paf: bool = True
    pseudo_count: float = Field(default=3.0, gt=0)
    anchor_ridge: float = Field(default=10.0, ge=0)
    dlf: bool = True
    probe_penalty: float = Field(default=0.1, ge=0)
    tau: float = Field(default=1.0, ge=0)
    unlabelled: bool = True
    unlabelled_weight: float = Field(default=0.25, ge=0, le=1)
    pseudo_label_temperature: float = Field(default=0.5, gt=0)
    rounds: int = Field(default=8, ge=1)
    folds: int = Field(default=5, ge=2)


# Standard deviations of the logarithms of the weights of prototypes, probe and text, around equal weights of the
# aligned parts. The probe's is held tight: held-out likelihood overrates it where the rare classes, which it serves
# worst, have too few rows to be held out.
SPREAD = (1.0, 0.3, 1.0)


@dataclass(frozen=True)
class _Problem:
    """The whole fit (index 0) and its folds (1 to K), side by side."""

    data: TrainingData
    config: UlfineConfig
    folds: Tensor  # int64 (N,), 0 to K - 1
    labelled: Moments
    probes: Tensor  # float32 (B, C, D), scaled
    text: Tensor | None  # float32 (C, D), scaled

    def parts(self, rows: Tensor, prototypes: Prototypes, b: int) -> Tensor:
        """Logits of problem b, float64 (P, N, C)."""
        rows = rows.double()
        fitted = rows @ prototypes.weight[b].T + prototypes.bias[b]
        others = [self.probes[b]] if self.text is None else [self.probes[b], self.text]
        return torch.stack([fitted, *(rows @ other.double().T for other in others)])

    def left_out(self, prototypes: Prototypes) -> Tensor:
        """Logits of every labelled row by the problem that did not see it, float64 (P, N, C)."""
        n_parts = 2 if self.text is None else 3
        parts = torch.empty(
            n_parts, len(self.folds), self.data.n_classes, dtype=torch.float64, device=self.folds.device
        )
        for fold in range(self.config.folds):
            rows = self.folds == fold
            parts[:, rows] = self.parts(self.data.features[rows], prototypes, fold + 1)
        return parts

    def fit_prototypes(self, moments: Moments, shrinkage: float) -> Prototypes:
        """Prototypes of all problems."""
        return fit_prototypes(
            None if self.data.text is None else self.data.text.double(),
            moments,
            # An endless supply of imagined images holds prototypes at their anchors.
            pseudo_count=self.config.pseudo_count if self.config.paf else 1e9,
            anchor_ridge=self.config.anchor_ridge,
            shrinkage=shrinkage,
        )


def fit(data: TrainingData, config: UlfineConfig, seed: int, progress: Progress) -> FitResult:
    """Fit adapter, prototypes, probe and fusion; see the module's text."""
    generator = torch.Generator().manual_seed(seed)
    folds = stratified_folds(data.labels, config.folds, generator)
    device = data.features.device
    keep = torch.stack([torch.ones_like(folds, dtype=torch.bool), *(folds != fold for fold in range(config.folds))])
    counts = data.labelled_counts
    text = None
    if data.text is not None:
        everything = torch.ones_like(folds, dtype=torch.bool)
        zero_shot = (data.features @ data.text.T)[None]
        scale = align(100 * zero_shot, data.labels, balanced_weights(data.labels, counts, everything))
        text = 100 * float(scale) * data.text
    anchor = data.features.new_zeros(data.n_classes, data.n_features) if text is None else text
    probes = [
        fit_text_anchored_probe(
            data.features[rows], data.labels[rows], anchor, penalty=config.probe_penalty, tau=config.tau
        )
        for rows in keep
    ]
    problem = _Problem(
        data=data,
        config=config,
        folds=folds,
        labelled=labelled_moments(data.features, data.labels, data.n_classes, keep),
        probes=torch.stack(probes),
        text=text,
    )
    # A class with a single row has none left to learn from once that row is left out; only text can then speak for it.
    usable = torch.ones_like(folds, dtype=torch.bool) if data.text is not None else counts[data.labels] > 1
    row_weights = balanced_weights(data.labels, counts, usable)

    shrinkage = config.shrinkage if config.adapter else 1.0
    prototypes = problem.fit_prototypes(problem.labelled, shrinkage)
    weights, losses = _fuse_left_out(problem, prototypes, row_weights)
    if shrinkage < 1:
        plain = problem.fit_prototypes(problem.labelled, 1.0)
        plain_weights, plain_losses = _fuse_left_out(problem, plain, row_weights)
        if _clearly_lower(plain_losses, losses, row_weights):
            shrinkage, prototypes, weights, losses = 1.0, plain, plain_weights, plain_losses
    progress.update("training", 1, config.rounds + 1, loss=_mean(losses, row_weights))
    history = [{"round": 0.0, "loss": _mean(losses, row_weights)}]
    diagnostics: dict[str, Any] = {"shrinkage": shrinkage}
    if config.unlabelled and len(data.unlabelled):
        refined, prior = _expectation_maximisation(problem, prototypes, weights, shrinkage, progress, history)
        refined_weights, refined_losses = _fuse_left_out(problem, refined, row_weights)
        use = not _clearly_lower(losses, refined_losses, row_weights)
        diagnostics |= {"unlabelled_used": use, "unlabelled_prior": prior.tolist()}
        history.append({"round": float(config.rounds), "loss": _mean(refined_losses, row_weights)})
        if use:
            prototypes, weights = refined, refined_weights
    names = ["prototypes", "probe", "text"]
    diagnostics["fusion_weights"] = dict(zip(names, weights.tolist(), strict=False))
    return FitResult(
        model=_model(problem, prototypes, weights).to(device).eval(), history=history, diagnostics=diagnostics
    )


def _fuse_left_out(problem: _Problem, prototypes: Prototypes, row_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Fusion weights, float64 (P,), and the loss of each left-out row under them, float64 (N,)."""
    parts = problem.left_out(prototypes)
    spread = torch.tensor(SPREAD[: len(parts)], dtype=torch.float64, device=parts.device)
    labels = problem.data.labels
    if problem.config.dlf:
        weights = fit_fusion_weights(parts, labels, row_weights, spread)
    else:
        weights = torch.zeros_like(spread)
        weights[:1] = align(parts[:1], labels, row_weights)
    return weights, cross_entropy(fuse(parts, weights), labels, reduction="none")


def _clearly_lower(losses: Tensor, others: Tensor, row_weights: Tensor) -> bool:
    """Whether left-out losses are lower than others by more than two standard errors of the paired difference."""
    gain = row_weights * (others - losses)
    return len(gain) > 1 and bool(gain.sum() > 2 * gain.std() * len(gain) ** 0.5)


def _mean(losses: Tensor, row_weights: Tensor) -> float:
    return float((row_weights * losses).sum() / row_weights.sum().clamp_min(1e-12))


def _expectation_maximisation(
    problem: _Problem,
    prototypes: Prototypes,
    weights: Tensor,
    shrinkage: float,
    progress: Progress,
    history: list[dict[str, float]],
) -> tuple[Prototypes, Tensor]:
    """Refine the prototypes of all problems with soft pseudo-labels.

    Returns:
        The prototypes, and the estimated class prior of the unlabelled rows in problem 0, float64 (C,).
    """
    unlabelled, share = problem.data.unlabelled, problem.config.unlabelled_weight
    n_problems, n_classes, _ = prototypes.weight.shape
    prior = torch.full((n_problems, n_classes), 1 / n_classes, dtype=torch.float64, device=unlabelled.device)
    # Every unlabelled row weighs the same whatever its pseudo-label, so the second moment never changes.
    gram = problem.labelled.gram + share * second_moment(unlabelled)
    weights = weights / problem.config.pseudo_label_temperature
    fixed = weights[1] * problem.probes.double()
    if problem.text is not None:
        fixed = fixed + weights[2] * problem.text.double()
    for round_ in range(1, problem.config.rounds + 1):
        # All parts are linear in the features, so their fusion is one matrix product.
        weight = (weights[0] * prototypes.weight + fixed).float()
        bias = (weights[0] * prototypes.bias + prior.log()).float()
        counts, sums, confidence = _pseudo_moments(unlabelled, weight, bias)
        prior = (counts + 1) / (len(unlabelled) + n_classes)
        prototypes = problem.fit_prototypes(
            Moments(problem.labelled.counts + share * counts, problem.labelled.sums + share * sums, gram), shrinkage
        )
        history.append({"round": float(round_), "confidence": confidence})
        progress.update("training", round_ + 1, problem.config.rounds + 1, confidence=confidence)
    return prototypes, prior[0]


def _pseudo_moments(unlabelled: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, float]:
    """Soft counts (B, C) and sums (B, C, D), both float64, and the mean confidence of problem 0, in blocks of rows."""
    n_problems, n_classes, width = weight.shape
    counts = torch.zeros(n_problems, n_classes, dtype=torch.float64, device=weight.device)
    sums = torch.zeros(n_problems, n_classes, width, dtype=torch.float64, device=weight.device)
    confidence = 0.0
    for block in unlabelled.split(16384):
        logits = (block @ weight.flatten(0, 1).T).unflatten(1, (n_problems, n_classes)) + bias
        responsibilities = torch.softmax(logits, dim=-1)
        counts += responsibilities.sum(0, dtype=torch.float64)
        sums += torch.einsum("nbc,nd->bcd", responsibilities, block)
        confidence += float(responsibilities[:, 0].amax(-1).sum())
    return counts, sums, confidence / len(unlabelled)


def _model(problem: _Problem, prototypes: Prototypes, weights: Tensor) -> FusedModel:
    """Problem 0 as a module: the adapter is the inverse square root of the covariance, which whitens."""
    data = problem.data
    values, vectors = torch.linalg.eigh(prototypes.covariance[0])
    adapter = (vectors * values.rsqrt()) @ vectors.T
    centre = prototypes.means[0].mean(0)
    model = FusedModel(n_features=data.n_features, n_classes=data.n_classes, has_text=data.text is not None)
    model.load_state_dict(
        {
            "centre": centre.float(),
            "adapter": adapter.float(),
            "prototypes": ((prototypes.means[0] - centre) @ adapter).float(),
            "probe": problem.probes[0],
            "weights": weights.float(),
        }
        | ({} if problem.text is None else {"text": problem.text})
    )
    return model


METHOD = Method(name="ulfine", config=UlfineConfig, fit=fit, build=lambda architecture: FusedModel(**architecture))
