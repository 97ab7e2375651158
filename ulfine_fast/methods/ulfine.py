"""`ulfine`, the default: adapter, prototype fitting (PAF), probe and fusion (DLF), each in closed form or convex.

1. Labelled rows are dealt into folds. Everything below is done for all labelled rows and once without each fold, side
   by side. With many labelled rows some folds are enough.
2. Adapter and prototypes: `ulfine_fast.gaussian_prototypes` on the labelled rows.
3. Probe: `ulfine_fast.text_anchored_probe` on the labelled rows.
4. Fusion weights: `ulfine_fast.left_out_fusion` on the rows each fold left out.
5. Rounds of EM, `ulfine_fast.pseudo_label_rounds`: the fused logits give every unlabelled row soft pseudo-labels, under
   a class prior of the unlabelled rows that is estimated along the way (Saerens et al., Adjusting the outputs of a
   classifier to new a priori probabilities, 2002); the prototypes are fitted again with them. With many unlabelled rows
   the rounds run on a sample and a last one on all of them.
6. Fusion weights again.

Left-out rows may overrule two steps, when they speak clearly (by two standard errors): the adapter falls back to the
identity, and the unlabelled rows are left alone.

Published are PAF and DLF as ideas (arXiv 2505.05062); every form here is this project's decision, see `docs/method.md`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from ulfine_cache.config import StrictConfig
from ulfine_fast.fold_problems import FoldProblems, fold_problems
from ulfine_fast.fused_model import FusedModel
from ulfine_fast.gaussian_prototypes import Prototypes
from ulfine_fast.history import prior_range
from ulfine_fast.interruption import Interruption, first_interrupt_noted
from ulfine_fast.left_out_fusion import LeftOutFusion
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.pseudo_label_rounds import Refined, refine, sample_rows
from ulfine_fast.row_space import row_space
from ulfine_fast.streamed_rows import StreamedRows

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.training_data import TrainingData


class UlfineConfig(StrictConfig):
    """Settings of `ulfine`.

    Attributes:
        adapter: Whether features are adapted by the shared covariance; without it, and where left-out labelled rows
            clearly prefer it, the adapter is the identity.
        shrinkage: How far that covariance is shrunk towards the identity, in (0, 1]; None for what
            `ulfine_fast.gaussian_prototypes.covariance_shrinkage` says.
        paf: Whether prototypes are fitted to images; without it the anchors that text predicts stay.
        pseudo_count: Images that an anchor is worth.
        anchor_ridge: Penalty of the map from text to anchors.
        dlf: Whether the probe and the raw text take part; without it the fitted prototypes decide alone.
        probe_penalty: Penalty on the probe's distance from the text prototypes, beside the losses of all labelled rows:
            the precision of a Gaussian prior, which weighs less the more rows there are.
        logit_adjustment: Whether the probe's loss is logit-adjusted.
        tau: Strength of that adjustment.
        unlabelled: Whether unlabelled rows are used.
        unlabelled_weight: What a pseudo-labelled row counts, relative to a labelled one.
        pseudo_label_temperature: Pseudo-labels are the softmax of the fused logits over this. Below 1 sharpens, as in
            MixMatch (Berthelot et al., NeurIPS 2019, equation 7, T = 0.5).
        rounds: Rounds of EM at most; they end when pseudo-labels stand still.
        folds: Folds of the cross-validation that sets the fusion weights.
    """

    adapter: bool = True
    shrinkage: float | None = Field(default=None, gt=0, le=1)
    paf: bool = True
    pseudo_count: float = Field(default=3.0, gt=0)
    anchor_ridge: float = Field(default=10.0, ge=0)
    dlf: bool = True
    probe_penalty: float = Field(default=12.0, ge=0)
    logit_adjustment: bool = True
    tau: float = Field(default=1.0, ge=0)
    unlabelled: bool = True
    unlabelled_weight: float = Field(default=0.25, ge=0, le=1)
    pseudo_label_temperature: float = Field(default=0.5, gt=0)
    rounds: int = Field(default=8, ge=1)
    folds: int = Field(default=5, ge=2)


IDENTITY = 1.0  # the shrinkage that leaves nothing of the covariance


def fit(data: TrainingData, config: UlfineConfig, seed: int, progress: Progress) -> FitResult:
    """Fit adapter, prototypes, probe and fusion; see the module's text."""
    generator = torch.Generator().manual_seed(seed)
    width = data.n_features
    data, basis = _in_row_space(data)
    problem = fold_problems(data, config, width, generator)
    sample = sample_rows(len(data.unlabelled), data.n_features, data.n_classes, generator)
    left_out = LeftOutFusion(data, problem.folds, problem.probes, problem.text, dlf=config.dlf)
    row_weights = left_out.row_weights

    shrinkage = config.shrinkage if config.adapter else IDENTITY
    prototypes = problem.fit_prototypes(problem.labelled, shrinkage)
    weights, losses = left_out.fit(prototypes)
    if shrinkage != IDENTITY:
        plain = problem.fit_prototypes(problem.labelled, IDENTITY)
        plain_weights, plain_losses = left_out.fit(plain)
        if _clearly_lower(plain_losses, losses, row_weights):
            shrinkage, prototypes, weights, losses = IDENTITY, plain, plain_weights, plain_losses
    progress.update("training", 1, config.rounds + 1, loss=_mean(losses, row_weights))
    history = [{"round": 0.0, "loss": _mean(losses, row_weights)}]
    diagnostics: dict[str, Any] = {"left_out_rows": len(row_weights)}
    interrupted_at = None
    if config.unlabelled and len(data.unlabelled):
        with first_interrupt_noted() as interruption:
            refined = _refine(problem, prototypes, weights, shrinkage, sample, progress, interruption)
        history += [{"round": float(i)} | figures for i, figures in enumerate(refined.history, start=1)]
        interrupted_at = len(refined.history) if interruption.requested else None
        refined_weights, refined_losses = left_out.fit(refined.prototypes)
        use = not _clearly_lower(losses, refined_losses, row_weights)
        diagnostics |= {"unlabelled_used": use, "unlabelled_prior": refined.prior.tolist()}
        loss = _mean(refined_losses, row_weights)
        prior = {name: float(value) for name, value in prior_range(refined.prior).items()}
        history.append({"round": float(len(refined.history)), "loss": loss, **prior})
        if use:
            prototypes, weights = refined.prototypes, refined_weights
    last = {name: value for name, value in history[-1].items() if name != "round"}
    progress.update("training", config.rounds + 1, config.rounds + 1, **last)
    names = ["prototypes", "probe", "text"]
    diagnostics["shrinkage"] = float(prototypes.shrinkage[0])
    diagnostics["fusion_weights"] = dict(zip(names, weights.tolist(), strict=False))
    model = _model(problem, prototypes, weights, basis)
    return FitResult(
        model=model.to(data.features.device).eval(),
        history=history,
        diagnostics=diagnostics,
        interrupted_at=interrupted_at,
    )


def _in_row_space(data: TrainingData) -> tuple[TrainingData, Tensor | None]:
    """The rows in coordinates of what they span, and the basis; as they are, and None, where that is everything."""
    if isinstance(data.unlabelled, StreamedRows):
        return data, None  # memory holds as many rows as there are dimensions
    basis = row_space(data.features, data.unlabelled, *([] if data.text is None else [data.text]))
    if basis is None:
        return data, None
    text = None if data.text is None else data.text @ basis
    return replace(data, features=data.features @ basis, unlabelled=data.unlabelled @ basis, text=text), basis


def _refine(
    problem: FoldProblems,
    prototypes: Prototypes,
    weights: Tensor,
    shrinkage: float | None,
    sample: Tensor | None,
    progress: Progress,
    interruption: Interruption,
) -> Refined:
    """Refine the prototypes of all problems with soft pseudo-labels from the fused logits."""
    config = problem.config
    fixed = weights[1] * problem.probes.double()
    if problem.text is not None:
        fixed = fixed + weights[2] * problem.text.double()
    fixed = fixed / config.pseudo_label_temperature
    weight = float(weights[0]) / config.pseudo_label_temperature

    # All parts are linear in the features, so their fusion is one matrix product.
    def classify(prototypes: Prototypes) -> tuple[Tensor, Tensor]:
        return torch.add(fixed, prototypes.weight, alpha=weight), weight * prototypes.bias

    return refine(
        problem.data.unlabelled[slice(None) if sample is None else sample],
        None if sample is None else problem.data.unlabelled,
        problem.labelled,
        prototypes,
        classify=classify,
        fit=lambda moments: problem.fit_prototypes(moments, shrinkage),
        share=config.unlabelled_weight,
        rounds=config.rounds,
        report=lambda round_, figures: progress.update("training", round_ + 1, config.rounds + 1, **figures),
        interruption=interruption,
    )


def _clearly_lower(losses: Tensor, others: Tensor, row_weights: Tensor) -> bool:
    """Whether left-out losses are lower than others by more than two standard errors of the paired difference."""
    gain = row_weights * (others - losses)
    return len(gain) > 1 and bool(gain.sum() > 2 * gain.std() * len(gain) ** 0.5)


def _mean(losses: Tensor, row_weights: Tensor) -> float:
    return float((row_weights * losses).sum() / row_weights.sum().clamp_min(1e-12))


def _model(problem: FoldProblems, prototypes: Prototypes, weights: Tensor, basis: Tensor | None) -> FusedModel:
    """Problem 0 as a module: the adapter is the inverse square root of the covariance, which whitens."""
    values, vectors = torch.linalg.eigh(prototypes.covariance[0])
    adapter = (vectors * values.rsqrt()) @ vectors.T
    centre = prototypes.means[0].mean(0)
    adapted = (prototypes.means[0] - centre) @ adapter
    probe, text = problem.probes[0], problem.text
    if basis is not None:
        # Outside of what the rows span the covariance is its floor.
        outside = prototypes.floor[0].rsqrt()
        base = basis.to(adapter)
        adapter = outside * torch.eye(len(base)).to(base) + base @ (adapter @ base.T - outside * base.T)
        centre, adapted = base @ centre, adapted @ base.T
        probe, text = probe @ basis.T, None if text is None else text @ basis.T
    model = FusedModel(n_features=problem.width, n_classes=len(probe), has_text=text is not None)
    model.load_state_dict(
        {
            "centre": centre.float(),
            "adapter": adapter.float(),
            "prototypes": adapted.float(),
            "probe": probe,
            "weights": weights.float(),
        }
        | ({} if text is None else {"text": text})
    )
    return model


METHOD = Method(
    name="ulfine",
    config=UlfineConfig,
    fit=fit,
    build=lambda architecture: FusedModel(**architecture),
    prior_power=uniform_prior,
    switches=("adapter", "paf", "dlf", "logit_adjustment", "unlabelled"),
)
