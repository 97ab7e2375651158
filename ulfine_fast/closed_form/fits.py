"""What a fit of `ulfine` does with its problems; `ulfine_fast.methods.ulfine` has the order of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ulfine_fast.closed_form.em_rounds import Refined, refine
from ulfine_fast.closed_form.fold_problems import FoldProblems
from ulfine_fast.closed_form.left_out_fusion import LeftOutFusion
from ulfine_fast.closed_form.paf import Moments, Prototypes
from ulfine_fast.closed_form.row_space import row_space
from ulfine_fast.closed_form.ulfine_config import IDENTITY
from ulfine_fast.interruption import Interruption
from ulfine_fast.method import FitResult
from ulfine_fast.models.fused_model import FusedModel
from ulfine_fast.priors.logit_adjustment import prior_range
from ulfine_fast.rows.streamed_rows import StreamedRows

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


@dataclass(frozen=True)
class Fitted:
    """Prototypes of all problems, and for each seed the fusion weights, float64 (P,), and the left-out losses."""

    prototypes: Prototypes
    weights: list[Tensor]
    losses: list[Tensor]


class Fits:
    """What a fit does with the problems of its seeds; see the module's text."""

    def __init__(self, problems: FoldProblems) -> None:
        self.problems, self.config = problems, problems.config
        self.shrinkage = self.config.shrinkage if self.config.adapter else IDENTITY
        self.left_out = [
            LeftOutFusion(problems.data, folds, problems.probes[problems.of(seed)], problems.text, dlf=self.config.dlf)
            for seed, folds in enumerate(problems.folds)
        ]

    def judge(self, prototypes: Prototypes) -> Fitted:
        """The fusion that prototypes call for, seed by seed."""
        pairs = [fusion.fit(prototypes.of(self.problems.of(seed))) for seed, fusion in enumerate(self.left_out)]
        return Fitted(prototypes, [weights for weights, _ in pairs], [losses for _, losses in pairs])

    def loss(self, fitted: Fitted) -> float:
        """The mean left-out loss of the seeds."""
        pairs = list(zip(fitted.losses, self.left_out, strict=True))
        return sum(_mean(losses, fusion.row_weights) for losses, fusion in pairs) / len(pairs)

    def from_labelled_rows(self) -> tuple[Fitted, Tensor]:
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
        return Fitted(
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
        begin: Fitted,
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
        begin: Fitted,
        end: Fitted,
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


def in_row_space(data: TrainingData) -> tuple[TrainingData, Tensor | None]:
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
