"""`ulfine-paper`: PAF and DLF by the published rules (Zhang et al., ULFine, arXiv 2505.05062), trained by gradient.

Published: text prototypes that move towards visual ones at rates set by the pseudo-labels' class distribution (PAF), an
orthogonality term, the fusion of their logits with a linear probe's, aligned in scale, for pseudo-labels and prediction
(DLF). The paper's full text could not be read: every other choice is this project's, and no figure is a reproduction.

- Each part is trained by its own loss, so that both stay whole classifiers. Trained through their sum they grow
  overconfident together.
- Labelled loss: logit-adjusted cross-entropy with the labelled prior. Pseudo-labels: hard, of the fused logits, above
  a threshold, no prior added. Their loss is adjusted by their own distribution `P_u`, which is known; otherwise
  frequent pseudo-labels breed more of their kind.
- The strong view is the feature with noise (`ulfine_fast.gradient.strong_views.strong_view`): a row of a cache is one
  view.
- Visual prototypes cross the gap to the texts before they pull (`published_paf.across_gap`). Without
  unlabelled rows, `P_u` is the class distribution of the labelled ones.
- Scale: the text logits get the probe's standard deviation over classes, a running mean kept in the model.

Defaults were settled on one draw each of a consistent and a reversed unlabelled set, by the accuracy on pool rows that
were neither labelled, unlabelled nor test rows. Macro | tail, %, WHU-RS19, Caltech-54, DTD (all ViT-B/32), learning
rate 1e-3 and mu 0.01 unless said otherwise:

    `lift`, no unlabelled rows                          93.9 | 88.2   91.0 | 89.7   49.0 | 23.7
    trained through the sum, plain pseudo-label loss    90.7 | 77.8   89.6 | 85.0   45.2 | 18.6
    each part by its own loss, plain                    93.2 | 85.7   89.3 | 85.2   45.6 | 19.9
    each, adjusted by P_u                               95.5 | 92.9   91.7 | 88.2   47.8 | 23.6
    the same, weight of the unlabelled loss 0.25        95.4 | 92.3   92.6 | 88.9   49.5 | 26.5

Learning rate 5e-4 gave Caltech-54 92.7 | 91.7 and DTD 50.4 | 26.8, and then mu 0.003 Caltech-54 93.5 | 92.4 and DTD
50.2 | 26.7. Within half a point of each other, so that one draw cannot tell them apart: prototypes that move or stay,
with or without the shift across the gap, an orthogonality step of 0 to 0.003, 200 or 400 steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from ulfine_fast.gradient.batches import unlabelled_batches
from ulfine_fast.gradient.descent import DescentSettings
from ulfine_fast.gradient.gradient_training import Batch, Objective, Problems, train_side_by_side
from ulfine_fast.gradient.heads import initial_prototypes
from ulfine_fast.gradient.pseudo_labels import confident_pseudo_labels, masked_cross_entropy
from ulfine_fast.gradient.published_paf import (
    across_gap,
    move_prototypes,
    movement_rates,
    pseudo_label_distribution,
    separate,
    visual_prototypes,
)
from ulfine_fast.gradient.strong_views import strong_view
from ulfine_fast.method import FitResult, Method, unadjusted_prior
from ulfine_fast.models.dual_logit_model import DualLogitModel, scale_ratio
from ulfine_fast.priors.logit_adjustment import log_prior, logit_adjusted_cross_entropy, prior_range

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class UlfinePaperSettings(DescentSettings):
    """Settings of `ulfine-paper`, beside those of the training; `batch_size` is also that of the unlabelled rows.

    Attributes:
        adapter: Whether the residual adapter is trained.
        adapter_width: Its bottleneck.
        paf: Whether prototypes move; without it they stay at the text (labelled class means without text).
        mu: Movement rate of the class predicted most often, per step.
        momentum: Of the running means: visual prototypes, `P_u` and the scale.
        orthogonality: Whether the orthogonality term keeps the prototypes apart while they move; it is part of PAF.
        orthogonality_step: Length of its gradient step, per step.
        dlf: Whether the probe takes part; without it the fitted prototypes decide alone.
        text_weight: Share of the prototypes' logits in the fusion.
        logit_adjustment: Whether both losses are logit-adjusted.
        tau: Strength of that adjustment.
        unlabelled: Whether unlabelled rows are used.
        unlabelled_weight: Weight of their loss.
        threshold: Confidence from which a pseudo-label counts.
        strong_noise: Expected length of the noise in the strong view; a feature has length 1.
        scale: Of the cosine probe, as in LIFT.
    """

    adapter: bool = True
    adapter_width: int = Field(default=64, ge=1)
    paf: bool = True
    mu: float = Field(default=0.003, ge=0, le=1)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    orthogonality: bool = True
    orthogonality_step: float = Field(default=1e-3, gt=0)
    dlf: bool = True
    text_weight: float = Field(default=0.5, ge=0, le=1)
    logit_adjustment: bool = True
    tau: float = Field(default=1.0, ge=0)
    unlabelled: bool = True
    unlabelled_weight: float = Field(default=0.25, ge=0)
    threshold: float = Field(default=0.7, ge=0, le=1)
    strong_noise: float = Field(default=0.3, ge=0)
    scale: float = Field(default=25.0, gt=0)
    steps: int = Field(default=200, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)


class _PrototypeFitting:
    """PAF's running state: the visual prototypes, the pseudo-labels' distribution, and their rules in order.

    Args:
        problems: The models before their first step, whose prototypes are the texts.
        settings: Settings.
        uses_unlabelled: Whether there will be pseudo-labels.
    """

    def __init__(
        self, problems: Problems[DualLogitModel], settings: UlfinePaperSettings, uses_unlabelled: bool
    ) -> None:
        self.settings = settings
        self.text = problems.model.prototypes.clone()
        self.visual = torch.zeros_like(self.text)
        self.seen = torch.zeros_like(problems.counts, dtype=torch.bool)
        counts = torch.ones_like(problems.counts) if uses_unlabelled else problems.counts
        self.distribution = counts.float() / counts.sum(-1, keepdim=True)

    def meet(self, pseudo_labels: Tensor) -> None:
        """Update `P_u`."""
        batch = pseudo_label_distribution(pseudo_labels, self.distribution.shape[-1])
        self.distribution = self.settings.momentum * self.distribution + (1 - self.settings.momentum) * batch

    def rates(self) -> Tensor:
        """Movement rates, float32 (..., C); classes never seen have no visual prototype to move to."""
        return movement_rates(self.distribution, self.settings.mu) * self.seen

    def step(self, prototypes: Tensor, adapted: Tensor, batch: Batch) -> Tensor:
        """The prototypes after one batch of labelled rows, float32 (..., C, D)."""
        momentum = self.settings.momentum
        self.visual, self.seen = visual_prototypes(
            self.visual, self.seen, adapted, batch.labels, momentum, batch.weights
        )
        moved = move_prototypes(prototypes, across_gap(self.visual, self.seen, self.text), self.rates())
        return separate(moved, self.settings.orthogonality_step) if self.settings.orthogonality else moved


def fit_seeds(
    data: TrainingData, settings: UlfinePaperSettings, seeds: Sequence[int], progress: Progress
) -> list[FitResult]:
    """Train adapter, prototypes and probe; see the module's text. The last step is the model."""
    uses_unlabelled = settings.unlabelled and len(data.unlabelled) > 0
    tau = settings.tau if settings.logit_adjustment else 0.0
    # Streams of their own, so that labelled batches do not depend on the unlabelled rows.
    others = [torch.Generator().manual_seed(seed + 1) for seed in seeds]
    draws = [unlabelled_batches(data.unlabelled, settings.batch_size, other) for other in others]

    def objective(problems: Problems[DualLogitModel]) -> Objective:
        model, axes, prior = problems.model, problems.axes, problems.prior
        fitting = _PrototypeFitting(problems, settings, uses_unlabelled)

        def loss_of(batch: Batch, number: int) -> tuple[Tensor, dict[str, Tensor]]:
            adapted = model.adapt(batch.features)
            weak: list[Tensor] = []
            pseudo_labels, used = batch.labels[..., :0], batch.labels[..., :0]
            with torch.no_grad():
                if uses_unlabelled:
                    weak = [data.unlabelled[next(draw).to(data.labels.device)] for draw in draws]
                    pseudo_labels, used = confident_pseudo_labels(model.logits(axes.batch(weak)), settings.threshold)
                    fitting.meet(pseudo_labels)
                if settings.paf:
                    model.prototypes.copy_(fitting.step(model.prototypes, adapted, batch))
                if settings.dlf:
                    ratio = scale_ratio(*model.unscaled_logits(adapted), batch.weights)
                    kept = settings.momentum if number > 1 else 0.0
                    model.text_scale.copy_(kept * model.text_scale + (1 - kept) * ratio)
            loss = sum(
                logit_adjusted_cross_entropy(part, batch.labels, prior, tau, batch.weights)
                for part in _parts(model, adapted)
            )
            assert isinstance(loss, Tensor)
            if uses_unlabelled:
                strong = [
                    strong_view(rows, settings.strong_noise, other) for rows, other in zip(weak, others, strict=True)
                ]
                pseudo_prior = tau * log_prior(fitting.distribution * len(data.unlabelled)).unsqueeze(-2)
                loss = loss + settings.unlabelled_weight * sum(
                    masked_cross_entropy(part + pseudo_prior, pseudo_labels, used)
                    for part in _parts(model, model.adapt(axes.batch(strong)))
                )
            figures = {"loss": loss.detach()}
            if uses_unlabelled:
                figures["pseudo_label_rate"] = used.float().mean(-1)
                figures |= prior_range(fitting.distribution)
            return loss, figures

        return Objective(loss_of, lambda: {"distribution": fitting.distribution, "rates": fitting.rates()})

    def diagnostics(model: DualLogitModel, state: Mapping[str, Tensor]) -> dict[str, Any]:
        return {
            "pseudo_label_distribution": state["distribution"].tolist() if uses_unlabelled else None,
            "movement_rates": state["rates"].tolist() if settings.paf else [0.0] * data.n_classes,
            "text_scale": model.text_scale.item(),
        }

    return train_side_by_side(
        data,
        settings,
        seeds,
        progress,
        new_model=lambda rows, generator: _new_model(rows, settings, generator),
        objective=objective,
        diagnostics=diagnostics,
    )


def _new_model(data: TrainingData, settings: UlfinePaperSettings, generator: torch.Generator) -> DualLogitModel:
    """The model before its first step, on the device of the data: prototypes and probe are the texts."""
    model = DualLogitModel(
        n_features=data.n_features,
        n_classes=data.n_classes,
        scale=settings.scale,
        text_weight=settings.text_weight if settings.dlf else 1.0,
        adapter_width=settings.adapter_width if settings.adapter else 0,
        generator=generator,
    ).to(data.features.device)
    text = initial_prototypes(data)
    with torch.no_grad():
        model.weight.copy_(text)
        model.prototypes.copy_(text)
    return model


def _parts(model: DualLogitModel, adapted: Tensor) -> list[Tensor]:
    """The logits that the losses train, each on its own scale; those without weight in the fusion are left out."""
    similarities, probe = model.unscaled_logits(adapted)
    text = model.text_scale[..., None, None] * similarities
    return [logits for weight, logits in ((model.text_weight, text), (1 - model.text_weight, probe)) if weight > 0]


METHOD = Method(
    name="ulfine-paper",
    settings=UlfinePaperSettings,
    fit_seeds=fit_seeds,
    build=lambda architecture: DualLogitModel(**architecture),
    prior_power=lambda settings: unadjusted_prior(settings) if settings.logit_adjustment else 1.0,
    unlabelled=True,
    switches=("adapter", "paf", "dlf", "orthogonality", "logit_adjustment", "unlabelled"),
    shared=True,
)
