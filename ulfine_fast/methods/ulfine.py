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
from typing import TYPE_CHECKING

import torch

from ulfine_fast.closed_form.em_rounds import EveryRow, sample_rows
from ulfine_fast.closed_form.fits import Fits, in_row_space
from ulfine_fast.closed_form.fold_problems import PROBLEMS, fold_problems
from ulfine_fast.closed_form.ulfine_settings import UlfineSettings
from ulfine_fast.interruption import first_interrupt_noted
from ulfine_fast.method import FitResult, Method, uniform_prior
from ulfine_fast.models.fused_model import FusedModel
from ulfine_fast.rows.streamed_rows import StreamedRows
from ulfine_fast.seeds import in_turns

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


def fit_seeds(
    data: TrainingData, settings: UlfineSettings, seeds: Sequence[int], progress: Progress
) -> list[FitResult]:
    """Fit adapter, prototypes, probe and fusion; see the module's text. One seed after another."""
    width = data.n_features
    data, basis = in_row_space(data)
    every = EveryRow(data.unlabelled)

    def fit(seed: int, told: Progress) -> FitResult:
        generator = torch.Generator().manual_seed(seed)
        fits = Fits(fold_problems(data, settings, width, generator))
        begin, shrinkage = fits.from_labelled_rows()
        told.update("training", 1, settings.rounds + 1, loss=fits.loss(begin))
        end, refined, interrupted_at = begin, None, None
        if settings.unlabelled and len(every):
            sample = sample_rows(len(every), data.n_features, data.n_classes, generator)
            rows = (data.unlabelled[:], None) if sample is None else (data.unlabelled[sample], every)
            with first_interrupt_noted() as interruption:
                refined = fits.refine(begin, shrinkage, *rows, told, interruption)
            if interruption.requested:
                interrupted_at = len(refined.history)
            end = fits.fused(refined.prototypes)
        result = fits.result(begin, end, refined, basis, interrupted_at)
        last = {name: value for name, value in result.history[-1].items() if name != "round"}
        told.update("training", settings.rounds + 1, settings.rounds + 1, **last)
        return result

    return in_turns(lambda turn, told: [fit(turn[0], told)], seeds, progress)


def memory(data: TrainingData) -> int:
    """Bytes of the matrices: eight of each problem in the space that the rows span, five of the model beyond it."""
    rows = len(data.features) + len(data.unlabelled) + (0 if data.text is None else data.n_classes)
    spans_all = isinstance(data.unlabelled, StreamedRows) or rows >= data.n_features
    spanned = data.n_features if spans_all else rows
    return 4 * (8 * PROBLEMS * spanned**2 + (0 if spans_all else 5 * data.n_features**2))


METHOD = Method(
    name="ulfine",
    settings=UlfineSettings,
    fit_seeds=fit_seeds,
    build=lambda architecture: FusedModel(**architecture),
    prior_power=uniform_prior,
    unlabelled=True,
    memory=memory,
    switches=("adapter", "paf", "dlf", "logit_adjustment", "unlabelled"),
    shared=True,
)
