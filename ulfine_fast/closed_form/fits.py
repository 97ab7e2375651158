"""What a fit of `ulfine` does with its problems; `ulfine_fast.methods.ulfine` has the order of the steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ulfine_fast.closed_form.em_rounds import EveryRow, Refined, refine
from ulfine_fast.closed_form.fold_problems import FoldProblems
from ulfine_fast.closed_form.left_out_fusion import LeftOutFusion
from ulfine_fast.closed_form.paf import Prototypes
from ulfine_fast.closed_form.row_space import row_space
from ulfine_fast.closed_form.ulfine_settings import IDENTITY
from ulfine_fast.interruption import Interruption
from ulfine_fast.method import FitResult
from ulfine_fast.models.fused_model import FusedModel
from ulfine_fast.priors.class_prior import imagined_rows
from ulfine_fast.priors.logit_adjustment import prior_range
from ulfine_fast.rows.streamed_rows import StreamedRows

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


@dataclass(frozen=True)
class Fitted:
    """Prototypes and the fusion that left-out rows call for.

    Attributes:
        prototypes: Of all problems.
        weights: float64 (P,), the fusion weights.
        losses: float64 (M,), of each left-out row under them.
        noise: Share of the labels that are taken for wrong.
    """

    prototypes: Prototypes
    weights: Tensor
    losses: Tensor
    noise: float


class Fits:
    """The steps of a fit, as `ulfine_fast.methods.ulfine` lists them.

    Args:
        problems: All labelled rows, and the same without each fold.
    """

    def __init__(self, problems: FoldProblems) -> None:
        self.problems, self.settings = problems, problems.settings
        self.left_out = LeftOutFusion(
            problems.data, problems.keep, problems.probes, problems.text, dlf=self.settings.dlf
        )

    def fused(self, prototypes: Prototypes) -> Fitted:
        """Prototypes with the fusion that left-out rows call for."""
        return Fitted(prototypes, *self.left_out.fit(prototypes))

    def loss(self, fitted: Fitted) -> float:
        """The mean loss of the left-out rows, by their weights."""
        row_weights = self.left_out.row_weights
        return float((row_weights * fitted.losses).sum() / row_weights.sum().clamp_min(1e-12))

    def from_labelled_rows(self) -> tuple[Fitted, float | None]:
        """The fit without unlabelled rows, and the shrinkage that its adapter has, as in `UlfineSettings`."""
        shrinkage = self.settings.shrinkage if self.settings.adapter else IDENTITY
        fitted = self.fused(self.problems.fit_prototypes(self.problems.labelled, shrinkage))
        if shrinkage == IDENTITY:
            return fitted, shrinkage
        plain = self.fused(self.problems.fit_prototypes(self.problems.labelled, IDENTITY))
        return (plain, IDENTITY) if self.clearly_lower(plain, fitted) else (fitted, shrinkage)

    def clearly_lower(self, fitted: Fitted, other: Fitted) -> bool:
        """Whether the left-out loss of a fit is clearly lower than that of another."""
        return _clearly_lower(fitted.losses, other.losses, self.left_out.row_weights)

    def refine(
        self,
        begin: Fitted,
        shrinkage: float | None,
        rows: Tensor,
        every: EveryRow | None,
        progress: Progress,
        interruption: Interruption,
    ) -> Refined:
        """Refine the prototypes of all problems with soft pseudo-labels from the fused logits.

        Args:
            begin: Where to begin.
            shrinkage: As in `from_labelled_rows`.
            rows: float32 (M, D), the unlabelled rows that the rounds run on.
            every: All of them where `rows` are a sample, else None.
            progress: Told about the rounds.
            interruption: Ends them.
        """
        history: list[dict[str, float]] = []
        *first, last = self._halves()
        fitted = begin
        for rounds in first:
            refined = self._rounds(fitted, shrinkage, rows, None, rounds, history, progress, interruption)
            if interruption.requested:
                return replace(refined, history=history)
            fitted = self.fused(refined.prototypes)
        refined = self._rounds(fitted, shrinkage, rows, every, last, history, progress, interruption)
        return replace(refined, history=history)

    def _halves(self) -> list[int]:
        """Rounds with the weights of the labelled rows, and those with the weights that their end calls for.

        Few labels say little for prototypes that have seen few images; half-way those have seen the unlabelled ones.
        Without text there is one half: the credit that few labels are then due (`left_out_fusion.credit`) falls with
        every pseudo-label, and weights that are fitted again gain nothing (docs/method.md).
        """
        rounds = self.settings.rounds
        return [rounds] if self.problems.text is None or rounds == 1 else [rounds // 2, rounds - rounds // 2]

    def _rounds(
        self,
        begin: Fitted,
        shrinkage: float | None,
        rows: Tensor,
        every: EveryRow | None,
        rounds: int,
        history: list[dict[str, float]],
        progress: Progress,
        interruption: Interruption,
    ) -> Refined:
        """So many rounds under the weights of `begin`; their figures go to the end of `history`, too."""
        problems, settings = self.problems, self.settings
        own, *others = begin.weights / settings.pseudo_label_temperature
        parts = [problems.probes] if problems.text is None else [problems.probes, problems.text]
        fixed = sum(weight * part.double() for weight, part in zip(others, parts, strict=False))

        # All parts are linear in the features, so their fusion is one matrix product.
        def classify(prototypes: Prototypes) -> tuple[Tensor, Tensor]:
            return fixed + own * prototypes.weight.double(), own.to(prototypes.bias) * prototypes.bias

        def report(_: int, figures: dict[str, float]) -> None:
            history.append(figures)
            progress.update("training", len(history) + 1, settings.rounds + 1, **figures)

        n_rows = len(rows) if every is None else len(every)
        return refine(
            rows,
            every,
            problems.labelled,
            begin.prototypes,
            classify=classify,
            fit=lambda moments: problems.fit_prototypes(moments, shrinkage),
            share=settings.unlabelled_weight,
            imagined=imagined_rows(n_rows, problems.data.n_classes),
            rounds=rounds,
            report=report,
            interruption=interruption,
        )

    def result(
        self, begin: Fitted, end: Fitted, refined: Refined | None, basis: Tensor | None, interrupted_at: int | None
    ) -> FitResult:
        """What the fit ends with: the refined one, unless left-out rows clearly speak for the one before.

        Args:
            begin: Without unlabelled rows.
            end: With them; `begin` where there are none.
            refined: What the rounds found; None where there were none.
            basis: Of the space that the rows span, as in `in_row_space`.
            interrupted_at: As in `FitResult`.
        """
        fitted, history = begin, [{"round": 0.0, "loss": self.loss(begin)}]
        diagnostics: dict[str, Any] = {"left_out_rows": len(self.left_out.row_weights)}
        if refined is not None:
            history += [{"round": float(i)} | figures for i, figures in enumerate(refined.history, start=1)]
            use = not self.clearly_lower(begin, end)
            prior = dict(zip(self.problems.data.class_names, refined.prior.tolist(), strict=True))
            diagnostics |= {"unlabelled_used": use, "unlabelled_prior": prior}
            figures = {name: float(value) for name, value in prior_range(refined.prior).items()}
            history.append({"round": float(len(refined.history)), "loss": self.loss(end), **figures})
            fitted = end if use else begin
        diagnostics["wrong_labels"] = fitted.noise
        diagnostics["shrinkage"] = float(fitted.prototypes.shrinkage[0])
        names = ["prototypes", "probe", "text"]
        diagnostics["fusion_weights"] = dict(zip(names, fitted.weights.tolist(), strict=False))
        model = _model(self.problems, fitted, basis)
        return FitResult(
            model=model.to(fitted.weights.device).eval(),
            history=history,
            diagnostics=diagnostics,
            interrupted_at=interrupted_at,
            left_out=replace(
                self.left_out.looks(fitted.prototypes, fitted.weights),
                offsets=self.left_out.offsets(fitted.prototypes, fitted.weights),
            ),
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


def _model(problems: FoldProblems, fitted: Fitted, basis: Tensor | None) -> FusedModel:
    """The whole problem as a module. Its adapter, the inverse square root of the covariance, whitens."""
    prototypes, probe, text = fitted.prototypes, problems.probes[0], problems.text
    values, vectors = torch.linalg.eigh(prototypes.covariance[0])
    adapter = (vectors * values.rsqrt()) @ vectors.T
    centre = prototypes.means[0].mean(0)
    adapted = (prototypes.means[0] - centre) @ adapter
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
            "weights": fitted.weights.float(),
        }
        | ({} if text is None else {"text": text})
    )
    return model
