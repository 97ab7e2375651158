"""The problems of a fit of `ulfine`: all labelled rows, and the same without each fold, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ulfine_fast.closed_form.dlf import align
from ulfine_fast.closed_form.paf import SAFE_SHRINKAGE, Moments, Prototypes, fit_prototypes, labelled_moments
from ulfine_fast.closed_form.text_anchored_probe import fit_text_anchored_probes
from ulfine_fast.rows.folds import balanced_weights, classes_to_leave_out, folds_to_leave_out

if TYPE_CHECKING:
    from ulfine_fast.closed_form.ulfine_settings import UlfineSettings
    from ulfine_fast.rows.training_data import TrainingData

LEFT_OUT_ROWS = 1000
"""Left-out rows that are enough to weigh three parts by: with more labelled rows, not every fold is left out."""

PROBLEMS = 6
"""The whole fit and five folds, side by side."""


@dataclass(frozen=True)
class FoldProblems:
    """The whole fit (index 0) and one without each fold that is left out (1 to K), side by side; B is 1 + K.

    Rows are in coordinates of their span where that is smaller than the space.

    Attributes:
        data: The rows.
        settings: Settings of the method.
        width: Dimensions of the features.
        keep: bool (B, N), which rows each problem sees.
        labelled: Moments of the rows that each problem sees.
        probes: float32 (B, C, D), scaled.
        text: float32 (C, D), scaled, or None.
    """

    data: TrainingData
    settings: UlfineSettings
    width: int
    keep: Tensor
    labelled: Moments
    probes: Tensor
    text: Tensor | None

    def fit_prototypes(self, moments: Moments, shrinkage: float | None) -> Prototypes:
        """Prototypes of the problems whose moments these are."""
        return fit_prototypes(
            None if self.data.text is None else self.data.text.to(moments.sums),
            moments,
            # An endless supply of imagined images holds prototypes at their anchors.
            pseudo_count=self.settings.pseudo_count if self.settings.paf else 1e9,
            anchor_ridge=self.settings.anchor_ridge,
            shrinkage=shrinkage,
            width=self.width,
        )


def fold_problems(
    data: TrainingData,
    settings: UlfineSettings,
    width: int,
    generator: torch.Generator,
    *,
    enough: int = LEFT_OUT_ROWS,
) -> FoldProblems:
    """Deal folds and fit what does not change any more: moments of labelled rows, probes and the scale of text.

    Where classes have no labelled row, each fold leaves out every row of some classes, too. Rows that have a camera, a
    site or a batch in common are in one fold: what is left out resembles what comes from the next one.

    Args:
        data: The rows, in coordinates of their span.
        settings: Settings of the method.
        width: Dimensions of the features.
        generator: Source of the folds, on the CPU.
        enough: Left-out rows that are enough: folds beyond them are not left out.
    """
    folds = folds_to_leave_out(data.labels, settings.folds, enough, generator, data.groups)
    keep = folds != torch.arange(int(folds.max()) + 1, device=folds.device)[:, None]
    keep[0] = True
    keep[1:] &= ~classes_to_leave_out(data.labelled_counts, len(keep) - 1, generator)[:, data.labels]
    text = None
    if data.text is not None:
        zero_shot = (data.features @ data.text.T)[None]
        balanced = balanced_weights(data.labels, data.labelled_counts, keep[0])
        text = 100 * float(align(100 * zero_shot, data.labels, balanced)) * data.text
    probes = fit_text_anchored_probes(
        data.features,
        data.labels,
        data.features.new_zeros(data.n_classes, data.n_features) if text is None else text,
        keep,
        penalty=settings.probe_penalty / len(data.labels),
        tau=settings.tau if settings.logit_adjustment else 0.0,
        unseen=text is None,
    )
    safe = settings.shrinkage is None or settings.shrinkage >= SAFE_SHRINKAGE
    dtype = torch.float32 if safe else torch.float64
    moments = labelled_moments(data.features, data.labels, data.n_classes, keep, dtype)
    return FoldProblems(
        data=data, settings=settings, width=width, keep=keep, labelled=moments, probes=probes, text=text
    )
