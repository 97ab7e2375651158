"""`ulfine-paper`: PAF and DLF by the published rules (Zhang et al., ULFine, arXiv 2505.05062), trained by gradient.

Published: text prototypes that move towards visual ones at rates set by the pseudo-labels' class distribution (PAF), an
orthogonality term, the fusion of their logits with a linear probe's, aligned in scale, for pseudo-labels and prediction
(DLF). The paper's full text could not be read: every other choice is this project's, and no figure is a reproduction.

- Each part is trained by its own loss, so that both stay whole classifiers. Trained through their sum they grow
  overconfident together.
- Labelled loss: logit-adjusted cross-entropy with the labelled prior. Pseudo-labels: hard, of the fused logits, above
  a threshold, no prior added. Their loss is adjusted by their own distribution `P_u`, which is known; otherwise
  frequent pseudo-labels breed more of their kind.
- The strong view is the feature with noise (`ulfine_fast.pseudo_labels.strong_view`): a row of a cache is one view.
- Visual prototypes cross the gap to the texts before they pull (`prototype_fitting.across_gap`). Without unlabelled
  rows, `P_u` is the class distribution of the labelled ones.
- Scale: the text logits get the probe's spread over classes, a running mean kept in the model.

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

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from ulfine_cache.config import StrictConfig
from ulfine_fast.descent import descend
from ulfine_fast.dual_logit_model import DualLogitModel, spread_ratio
from ulfine_fast.history import prior_range
from ulfine_fast.linear_head import batches, initial_prototypes
from ulfine_fast.logit_adjustment import log_prior, logit_adjusted_cross_entropy
from ulfine_fast.method import FitResult, Method, unadjusted_prior
from ulfine_fast.prototype_fitting import (
    across_gap,
    move_prototypes,
    movement_rates,
    pseudo_label_distribution,
    separate,
    visual_prototypes,
)
from ulfine_fast.pseudo_labels import confident_pseudo_labels, masked_cross_entropy, strong_view
from ulfine_fast.unlabelled_batches import unlabelled_batches

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.training_data import TrainingData


class UlfinePaperConfig(StrictConfig):
    """Settings of `ulfine-paper`.

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
        steps: Gradient steps.
        batch_size: Labelled rows per step, and unlabelled rows per step.
        learning_rate: Peak rate of AdamW, which falls to zero along a cosine.
        weight_decay: AdamW's decay.
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
    batch_size: int = Field(default=512, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)


class _PrototypeFitting:
    """PAF's running state: the visual prototypes, the pseudo-labels' distribution, and their rules in order."""

    def __init__(self, data: TrainingData, config: UlfinePaperConfig, text: Tensor, uses_unlabelled: bool) -> None:
        self.config = config
        self.text = text
        self.visual = torch.zeros_like(text)
        self.seen = torch.zeros(data.n_classes, dtype=torch.bool, device=text.device)
        counts = torch.ones_like(data.labelled_counts) if uses_unlabelled else data.labelled_counts
        self.distribution = counts.float() / counts.sum()

    def meet(self, pseudo_labels: Tensor) -> None:
        """Update `P_u`."""
        batch = pseudo_label_distribution(pseudo_labels, len(self.distribution))
        self.distribution = self.config.momentum * self.distribution + (1 - self.config.momentum) * batch

    def rates(self) -> Tensor:
        """Movement rates, float32 (C,); classes never seen have no visual prototype to move to."""
        return movement_rates(self.distribution, self.config.mu) * self.seen

    def step(self, prototypes: Tensor, adapted: Tensor, labels: Tensor) -> Tensor:
        """The prototypes after one batch of labelled rows, float32 (C, D)."""
        self.visual, self.seen = visual_prototypes(self.visual, self.seen, adapted, labels, self.config.momentum)
        moved = move_prototypes(prototypes, across_gap(self.visual, self.seen, self.text), self.rates())
        return separate(moved, self.config.orthogonality_step) if self.config.orthogonality else moved


def fit(data: TrainingData, config: UlfinePaperConfig, seed: int, progress: Progress) -> FitResult:
    """Train adapter, prototypes and probe; see the module's text. The last step is the model."""
    generator = torch.Generator().manual_seed(seed)
    device = data.features.device
    model = DualLogitModel(
        n_features=data.n_features,
        n_classes=data.n_classes,
        scale=config.scale,
        text_weight=config.text_weight if config.dlf else 1.0,
        adapter_width=config.adapter_width if config.adapter else 0,
        generator=generator,
    ).to(device)
    text = initial_prototypes(data)
    with torch.no_grad():
        model.weight.copy_(text)
        model.prototypes.copy_(text)
    uses_unlabelled = config.unlabelled and len(data.unlabelled) > 0
    fitting = _PrototypeFitting(data, config, text, uses_unlabelled)
    prior = log_prior(data.labelled_counts)
    tau = config.tau if config.logit_adjustment else 0.0
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps)
    # Streams of their own, so that labelled batches do not depend on the unlabelled rows.
    labelled_batches = batches(len(data.labels), config.batch_size, generator)
    other = torch.Generator().manual_seed(seed + 1)
    drawn = unlabelled_batches(data.unlabelled, config.batch_size, other)

    def take(step: int) -> dict[str, Tensor]:
        row = next(labelled_batches).to(device)
        labels, adapted = data.labels[row], model.adapt(data.features[row])
        weak, pseudo_labels, used = data.features[:0], labels[:0], labels[:0]
        with torch.no_grad():
            if uses_unlabelled:
                weak = data.unlabelled[next(drawn).to(device)]
                pseudo_labels, used = confident_pseudo_labels(model.logits(weak), config.threshold)
                fitting.meet(pseudo_labels)
            if config.paf:
                model.prototypes.copy_(fitting.step(model.prototypes, adapted, labels))
            if config.dlf:
                ratio = spread_ratio(*model.unscaled_logits(adapted))
                kept = config.momentum if step > 1 else 0.0
                model.text_scale.copy_(kept * model.text_scale + (1 - kept) * ratio)
        loss = sum(logit_adjusted_cross_entropy(part, labels, prior, tau) for part in _parts(model, adapted))
        if uses_unlabelled:
            strong = model.adapt(strong_view(weak, config.strong_noise, other))
            pseudo_prior = tau * log_prior(fitting.distribution * len(data.unlabelled))
            losses = [masked_cross_entropy(part + pseudo_prior, pseudo_labels, used) for part in _parts(model, strong)]
            loss = loss + config.unlabelled_weight * sum(losses)
        assert isinstance(loss, Tensor)
        if loss.requires_grad:  # prototypes alone, without an adapter, have nothing to learn by gradient
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
        figures = {"loss": loss.detach()}
        if uses_unlabelled:
            figures["pseudo_label_rate"] = used.float().mean()
            figures |= prior_range(fitting.distribution)
        return figures

    descent = descend(take, steps=config.steps, n_seeds=1, progress=progress)
    diagnostics = {
        "pseudo_label_distribution": fitting.distribution.tolist() if uses_unlabelled else None,
        "movement_rates": fitting.rates().tolist() if config.paf else [0.0] * data.n_classes,
        "text_scale": model.text_scale.item(),
    }
    return FitResult(
        model=model.eval(),
        history=descent.histories[0],
        diagnostics=diagnostics,
        interrupted_at=descent.interrupted_at,
    )


def _parts(model: DualLogitModel, adapted: Tensor) -> list[Tensor]:
    """The logits that the losses train, each on its own scale; those without weight in the fusion are left out."""
    similarities, probe = model.unscaled_logits(adapted)
    weighted = [(model.text_weight, model.text_scale * similarities), (1 - model.text_weight, probe)]
    return [logits for weight, logits in weighted if weight > 0]


METHOD = Method(
    name="ulfine-paper",
    config=UlfinePaperConfig,
    fit=fit,
    build=lambda architecture: DualLogitModel(**architecture),
    prior_power=lambda config: unadjusted_prior(config) if config.logit_adjustment else 1.0,
    switches=("adapter", "paf", "dlf", "orthogonality", "logit_adjustment", "unlabelled"),
)
