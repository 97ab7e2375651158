"""Fusion weights from rows that were left out: each row's logits come from the problem that did not learn from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ulfine_fast.closed_form.dlf import align, fit_fusion_weights, fuse
from ulfine_fast.rows.cross_validation import usable_rows
from ulfine_fast.rows.folds import balanced_weights

if TYPE_CHECKING:
    from ulfine_fast.closed_form.paf import Prototypes
    from ulfine_fast.rows.training_data import TrainingData

# Standard deviations of the logarithms of the weights of prototypes, probe and text, around equal weights of the
# aligned parts. The probe's is held tight: held-out likelihood overrates it where the rare classes, which it serves
# worst, have too few rows to be held out.
PRIOR_STD = (1.0, 0.3, 1.0)


class LeftOutFusion:
    """The left-out rows, what probe and text say of them, and the fusion that a set of prototypes then calls for.

    Args:
        data: Labelled rows, (N, D).
        folds: int64 (N,): b where problem b left the row out, 0 where none did.
        probes: float32 (B, C, D), probe of each problem; problem 0 saw every row.
        text: float32 (C, D), scaled text prototypes, or None.
        dlf: Whether probe and text take part; without them the prototypes decide alone, calibrated.

    Attributes:
        labels: int64 (M,), of the left-out rows, problem by problem.
        row_weights: float64 (M,), see `folds.balanced_weights`; 0 for rows that nothing could be learnt of.
    """

    def __init__(self, data: TrainingData, folds: Tensor, probes: Tensor, text: Tensor | None, *, dlf: bool) -> None:
        rows = [folds == b for b in range(1, len(probes))]
        self._features = [data.features[chosen] for chosen in rows]
        self._dlf = dlf
        self.labels = torch.cat([data.labels[chosen] for chosen in rows])
        usable = usable_rows(data)
        usable = torch.cat([usable[chosen] for chosen in rows])
        seen = torch.bincount(self.labels, minlength=data.n_classes)
        self.row_weights = balanced_weights(self.labels, seen, usable)
        others = [probes[1:]] if text is None else [probes[1:], text.expand_as(probes[1:])]
        self._others = torch.stack([self._logits(weights) for weights in others])
        self._aligned = align(self._others, self.labels, self.row_weights)

    def _logits(self, weights: Tensor) -> Tensor:
        """Logits of all left-out rows under the classifiers (K, C, D) of the problems that left them out, (M, C)."""
        pairs = zip(self._features, weights, strict=True)
        return torch.cat([features.to(weight) @ weight.T for features, weight in pairs])

    def fit(self, prototypes: Prototypes) -> tuple[Tensor, Tensor]:
        """Fusion weights, float64 (P,), and the loss of each left-out row under them, float64 (M,)."""
        pairs = zip(prototypes.bias[1:], self._features, strict=True)
        bias = torch.cat([problem.expand(len(features), -1) for problem, features in pairs])
        fitted = (self._logits(prototypes.weight[1:]) + bias).to(self._others)
        parts = torch.cat([fitted[None], self._others])
        prior_std = torch.tensor(PRIOR_STD[: len(parts)], dtype=torch.float64, device=parts.device)
        aligned = align(parts[:1], self.labels, self.row_weights)
        if self._dlf:
            aligned = torch.cat([aligned, self._aligned])
            weights = fit_fusion_weights(parts, self.labels, self.row_weights, prior_std, aligned)
        else:
            weights = torch.zeros_like(prior_std)
            weights[:1] = aligned
        return weights, cross_entropy(fuse(parts, weights).double(), self.labels, reduction="none")
