"""`ulfine`, the default: adapter, prototype fitting (PAF), probe and fusion (DLF), each in closed form or convex.

1. Labelled rows are dealt into folds. Everything below is done for all labelled rows and once without each fold, side
   by side. With many labelled rows some folds are enough.
2. Adapter and prototypes: `ulfine_fast.closed_form.paf` on the labelled rows.
3. Probe: `ulfine_fast.closed_form.text_anchored_probe` on the labelled rows.
4. Fusion weights: `ulfine_fast.closed_form.left_out_fusion` on the rows each fold left out.
5. Rounds of EM, `ulfine_fast.closed_form.em_rounds`: the fused logits give every unlabelled row soft pseudo-labels,
   under a class prior of the unlabelled rows that is estimated along the way (Saerens et al., Adjusting the outputs of
   a classifier to new a priori probabilities, 2002); the prototypes are fitted again with them. With many unlabelled
   rows the rounds run on a sample and a last one on all of them.
6. Fusion weights again.

Left-out rows may overrule two steps, when they speak clearly (by two standard errors): the adapter falls back to the
identity, and the unlabelled rows are left alone.

Published are PAF and DLF as ideas (arXiv 2505.05062); every form here is this project's decision, see `docs/method.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from ulfine_cache.config import StrictConfig
from ulfine_fast.closed_form.em_rounds import Refined, refine, sample_rows, sample_size
from ulfine_fast.closed_form.fold_problems import FoldProblems, fold_problems
from ulfine_fast.closed_form.left_out_fusion import LeftOutFusion
from ulfine_fast.closed_form.paf import Moments, Prototypes
from ulfine_fast.closed_form.row_space import row_space
from ulfine_fast.interruption import Interruption, first_interrupt_noted
from ulfine_fast.method import VALUES_AT_ONCE, FitResult, Method, uniform_prior
from ulfine_fast.models.fused_model import FusedModel
from ulfine_fast.priors.logit_adjustment import prior_range
from ulfine_fast.rows.streamed_rows import StreamedRows

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class UlfineConfig(StrictConfig):
    """Settings of `ulfine`.

    Attributes:
        adapter: Whether features are adapted by the shared covariance; without it, and where left-out labelled rows
            clearly prefer it, the adapter is the identity.
        shrinkage: How far that covariance is shrunk towards the identity, in (0, 1]; None for what
            `ulfine_fast.closed_form.paf.covariance_shrinkage` says.
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
    return fit_seeds(data, config, [seed], progress)[0]


def fit_seeds(data: TrainingData, config: UlfineConfig, seeds: Sequence[int], progress: Progress) -> list[FitResult]:
    """The same for several seeds at once, which deal other folds and draw other samples of the unlabelled rows."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    width = data.n_features
    data, basis = _in_row_space(data)
    problems = fold_problems(data, config, width, generators)
    samples = [sample_rows(len(data.unlabelled), data.n_features, data.n_classes, each) for each in generators]
    fits = _Fits(problems)
    begin, identity = fits.from_labelled_rows()
    progress.update("training", 1, config.rounds + 1, loss=fits.loss(begin))
    refined, interrupted_at = None, None
    if config.unlabelled and len(data.unlabelled):
        with first_interrupt_noted() as interruption:
            refined = fits.refine(begin, identity, samples, progress, interruption)
        if interruption.requested:
            interrupted_at = max(len(history) for history in refined.histories)
    end = begin if refined is None else fits.judge(refined.prototypes)
    results = [fits.result(seed, begin, end, refined, basis, interrupted_at) for seed in range(len(seeds))]
    last = [{name: value for name, value in result.history[-1].items() if name != "round"} for result in results]
    means = {name: sum(each[name] for each in last) / len(last) for name in last[0]}
    progress.update("training", config.rounds + 1, config.rounds + 1, **means)
    return results


def seeds_at_once(data: TrainingData, config: UlfineConfig) -> int:
    """How many seeds `VALUES_AT_ONCE` allows their pseudo-labels, classifiers and covariances, at least one."""
    rows = max(len(data.labels), min(len(data.unlabelled), sample_size(data.n_features, data.n_classes)))
    largest = max(rows * data.n_classes, data.n_features * max(data.n_features, data.n_classes))
    return max(1, VALUES_AT_ONCE // ((config.folds + 1) * largest))


@dataclass(frozen=True)
class _Fitted:
    """Prototypes of all problems, and for each seed the fusion weights, float64 (P,), and the left-out losses."""

    prototypes: Prototypes
    weights: list[Tensor]
    losses: list[Tensor]


class _Fits:
    """What a fit does with the problems of its seeds; see the module's text."""

    def __init__(self, problems: FoldProblems) -> None:
        self.problems, self.config = problems, problems.config
        self.shrinkage = self.config.shrinkage if self.config.adapter else IDENTITY
        self.left_out = [
            LeftOutFusion(problems.data, folds, problems.probes[problems.of(seed)], problems.text, dlf=self.config.dlf)
            for seed, folds in enumerate(problems.folds)
        ]

    def judge(self, prototypes: Prototypes) -> _Fitted:
        """The fusion that prototypes call for, seed by seed."""
        pairs = [fusion.fit(prototypes.of(self.problems.of(seed))) for seed, fusion in enumerate(self.left_out)]
        return _Fitted(prototypes, [weights for weights, _ in pairs], [losses for _, losses in pairs])

    def loss(self, fitted: _Fitted) -> float:
        """The mean left-out loss of the seeds."""
        pairs = list(zip(fitted.losses, self.left_out, strict=True))
        return sum(_mean(losses, fusion.row_weights) for losses, fusion in pairs) / len(pairs)

    def from_labelled_rows(self) -> tuple[_Fitted, Tensor]:
        """The fit without unlabelled rows, and the seeds whose adapter is the identity, bool (S,)."""
        fitted = self.judge(self.problems.fit_prototypes(self.problems.labelled, self.shrinkage))
        device = self.problems.folds.device
        if self.shrinkage == IDENTITY:
            return fitted, torch.zeros(self.problems.n_seeds, dtype=torch.bool, device=device)
        plain = self.judge(self.problems.fit_prototypes(self.problems.labelled, IDENTITY))
        pairs = zip(plain.losses, fitted.losses, self.left_out, strict=True)
        prefer = [_clearly_lower(losses, others, fusion.row_weights) for losses, others, fusion in pairs]
        identity = torch.tensor(prefer, device=device)
        if not any(prefer):
            return fitted, identity
        return _Fitted(
            self._mixed(identity, plain.prototypes, fitted.prototypes),
            [a if own else b for own, a, b in zip(prefer, plain.weights, fitted.weights, strict=True)],
            [a if own else b for own, a, b in zip(prefer, plain.losses, fitted.losses, strict=True)],
        ), identity

    def _mixed(self, identity: Tensor, plain: Prototypes, others: Prototypes) -> Prototypes:
        return plain.where(identity.repeat_interleave(self.problems.per_seed), others)

    def _fit_prototypes(self, moments: Moments, identity: Tensor) -> Prototypes:
        if not identity.any():
            return self.problems.fit_prototypes(moments, self.shrinkage)
        plain = self.problems.fit_prototypes(moments, IDENTITY)
        if identity.all():
            return plain
        return self._mixed(identity, plain, self.problems.fit_prototypes(moments, self.shrinkage))

    def refine(
        self,
        begin: _Fitted,
        identity: Tensor,
        samples: Sequence[Tensor | None],
        progress: Progress,
        interruption: Interruption,
    ) -> Refined:
        """Refine the prototypes of all problems with soft pseudo-labels from the fused logits."""
        problems, config = self.problems, self.config
        # One weight of each part for each problem, that of its seed.
        weights = torch.stack(begin.weights) / config.pseudo_label_temperature
        own, *others = weights.repeat_interleave(problems.per_seed, 0).T[..., None]
        parts = [problems.probes] if problems.text is None else [problems.probes, problems.text]
        fixed = sum(weight[..., None] * part.double() for weight, part in zip(others, parts, strict=False))

        # All parts are linear in the features, so their fusion is one matrix product.
        def classify(prototypes: Prototypes) -> tuple[Tensor, Tensor]:
            return fixed + own[..., None] * prototypes.weight, own.to(prototypes.bias) * prototypes.bias

        unlabelled, drawn = problems.data.unlabelled, [rows for rows in samples if rows is not None]
        return refine(
            [unlabelled[rows] for rows in drawn] or [unlabelled[:]],
            unlabelled if drawn else None,
            problems.labelled,
            begin.prototypes,
            n_seeds=problems.n_seeds,
            classify=classify,
            fit=lambda moments: self._fit_prototypes(moments, identity),
            share=config.unlabelled_weight,
            rounds=config.rounds,
            report=lambda round_, figures: progress.update("training", round_ + 1, config.rounds + 1, **figures),
            interruption=interruption,
        )

    def result(
        self,
        seed: int,
        begin: _Fitted,
        end: _Fitted,
        refined: Refined | None,
        basis: Tensor | None,
        interrupted_at: int | None,
    ) -> FitResult:
        """What one seed ends with: the refined fit, unless left-out rows clearly speak for the one before."""
        row_weights, fitted = self.left_out[seed].row_weights, begin
        history = [{"round": 0.0, "loss": _mean(begin.losses[seed], row_weights)}]
        diagnostics: dict[str, Any] = {"left_out_rows": len(row_weights)}
        if refined is not None:
            rounds, prior = refined.histories[seed], refined.prior[seed]
            history += [{"round": float(i)} | figures for i, figures in enumerate(rounds, start=1)]
            use = not _clearly_lower(begin.losses[seed], end.losses[seed], row_weights)
            diagnostics |= {"unlabelled_used": use, "unlabelled_prior": prior.tolist()}
            figures = {name: float(value) for name, value in prior_range(prior).items()}
            loss = _mean(end.losses[seed], row_weights)
            history.append({"round": float(len(rounds)), "loss": loss, **figures})
            fitted = end if use else begin
        weights, prototypes = fitted.weights[seed], fitted.prototypes.of(self.problems.of(seed))
        diagnostics["shrinkage"] = float(prototypes.shrinkage[0])
        names = ["prototypes", "probe", "text"]
        diagnostics["fusion_weights"] = dict(zip(names, weights.tolist(), strict=False))
        probe = self.problems.probes[self.problems.of(seed)][0]
        model = _model(self.problems, prototypes, probe, weights, basis)
        return FitResult(
            model=model.to(probe.device).eval(),
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


def _clearly_lower(losses: Tensor, others: Tensor, row_weights: Tensor) -> bool:
    """Whether left-out losses are lower than others by more than two standard errors of the paired difference."""
    gain = row_weights * (others - losses)
    return len(gain) > 1 and bool(gain.sum() > 2 * gain.std() * len(gain) ** 0.5)


def _mean(losses: Tensor, row_weights: Tensor) -> float:
    return float((row_weights * losses).sum() / row_weights.sum().clamp_min(1e-12))


def _model(
    problems: FoldProblems, prototypes: Prototypes, probe: Tensor, weights: Tensor, basis: Tensor | None
) -> FusedModel:
    """The whole problem of a seed as a module. Its adapter, the inverse square root of the covariance, whitens."""
    values, vectors = torch.linalg.eigh(prototypes.covariance[0])
    adapter = (vectors * values.rsqrt()) @ vectors.T
    centre = prototypes.means[0].mean(0)
    adapted = (prototypes.means[0] - centre) @ adapter
    text = problems.text
    if basis is not None:
        # Outside of what the rows span the covariance is its floor.
        outside = prototypes.floor[0].rsqrt()
        base = basis.to(adapter)
        adapter = outside * torch.eye(len(base)).to(base) + base @ (adapter @ base.T - outside * base.T)
        centre, adapted = base @ centre, adapted @ base.T
        probe, text = probe @ basis.T, None if text is None else text @ basis.T
    model = FusedModel(n_features=problems.width, n_classes=len(probe), has_text=text is not None)
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
    fit_seeds=fit_seeds,
    seeds_at_once=seeds_at_once,
    build=lambda architecture: FusedModel(**architecture),
    prior_power=uniform_prior,
    switches=("adapter", "paf", "dlf", "logit_adjustment", "unlabelled"),
)
