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

from typing import TYPE_CHECKING

import torch

from ulfine_fast.closed_form.em_rounds import sample_rows
from ulfine_fast.closed_form.fits import Fits, in_row_space
from ulfine_fast.closed_form.fold_problems import fold_problems
from ulfine_fast.closed_form.ulfine_config import UlfineConfig
from ulfine_fast.interruption import first_interrupt_noted
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.models.fused_model import FusedModel

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


def fit(data: TrainingData, config: UlfineConfig, seed: int, progress: Progress) -> FitResult:
    """Fit adapter, prototypes, probe and fusion; see the module's text."""
    generator = torch.Generator().manual_seed(seed)
    width = data.n_features
    data, basis = in_row_space(data)
    fits = Fits(fold_problems(data, config, width, generator))
    sample = sample_rows(len(data.unlabelled), data.n_features, data.n_classes, generator)
    begin, shrinkage = fits.from_labelled_rows()
    progress.update("training", 1, config.rounds + 1, loss=fits.loss(begin))
    end, refined, interrupted_at = begin, None, None
    if config.unlabelled and len(data.unlabelled):
        with first_interrupt_noted() as interruption:
            refined = fits.refine(begin, shrinkage, sample, progress, interruption)
        if interruption.requested:
            interrupted_at = len(refined.history)
        end = fits.fused(refined.prototypes)
    result = fits.result(begin, end, refined, basis, interrupted_at)
    last = {name: value for name, value in result.history[-1].items() if name != "round"}
    progress.update("training", config.rounds + 1, config.rounds + 1, **last)
    return result


METHOD = Method(
    name="ulfine",
    config=UlfineConfig,
    fit=fit,
    build=lambda architecture: FusedModel(**architecture),
    prior_power=uniform_prior,
    switches=("adapter", "paf", "dlf", "logit_adjustment", "unlabelled"),
)
