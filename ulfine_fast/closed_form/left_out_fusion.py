"""Fusion weights from rows that were left out: each row's logits come from a problem that did not learn from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ulfine_fast.closed_form.dlf import align, calibrate, fit_fusion_weights, fuse, noisy_losses
from ulfine_fast.rows.cross_validation import usable_rows
from ulfine_fast.rows.folds import balanced_weights
from ulfine_fast.rows.left_out import LeftOut

if TYPE_CHECKING:
    from ulfine_fast.closed_form.paf import Prototypes
    from ulfine_fast.rows.training_data import TrainingData

# Standard deviations of the logarithms of the weights of prototypes, probe and text, around equal weights of the
# aligned parts. The probe's is held tight: held-out likelihood overrates it where the rare classes, which it serves
# worst, have too few rows to be held out.
PRIOR_STD = (1.0, 0.3, 1.0)


class LeftOutFusion:
    """The left-out rows, what probe and text say of them, and the fusion that a set of prototypes then calls for.

    A row is looked at once for each problem that left it out.

    Args:
        data: Labelled rows, (N, D).
        keep: bool (B, N), which rows each problem saw; problem 0 saw every row.
        probes: float32 (B, C, D), probe of each problem.
        text: float32 (C, D), scaled text prototypes, or None.
        dlf: Whether probe and text take part; without them the prototypes decide alone, calibrated.

    Attributes:
        labels: int64 (M,), of the left-out rows, problem by problem.
        row_weights: float64 (M,), see `folds.balanced_weights`; 0 for rows that nothing could be learnt of: without
            text, those of a class that their problem saw no row of. Where some classes have no label, rows of classes
            that their problem saw no row of count as much as those classes.
    """

    def __init__(self, data: TrainingData, keep: Tensor, probes: Tensor, text: Tensor | None, *, dlf: bool) -> None:
        self._features = [data.features[~seen] for seen in keep[1:]]
        self._dlf = dlf
        self._text = text is not None
        self.labels = torch.cat([data.labels[~seen] for seen in keep[1:]])
        self.row_weights = _row_weights(data, keep)
        self._rows = torch.cat([torch.nonzero(~seen).flatten() for seen in keep[1:]])
        self._known = _known(data, keep)
        self._looked_at = (data.labelled_counts[self.labels] == 1) | (self._known > 0)
        others = [probes[1:]] if text is None else [probes[1:], text.expand_as(probes[1:])]
        self._others = torch.stack([self._logits(weights) for weights in others])
        self._aligned = align(self._others, self.labels, self.row_weights)

    def _logits(self, weights: Tensor) -> Tensor:
        """Logits of all left-out rows under the classifiers (K, C, D) of the problems that left them out, (M, C)."""
        pairs = zip(self._features, weights, strict=True)
        return torch.cat([features.to(weight) @ weight.T for features, weight in pairs])

    def fit(self, prototypes: Prototypes) -> tuple[Tensor, Tensor, float]:
        """The fusion that prototypes call for.

        Returns:
            Fusion weights, float64 (P,); the loss of each left-out row under them, float64 (M,); the share of labels
            that are taken for wrong.
        """
        parts = self._parts(prototypes)
        prior_std = torch.tensor(PRIOR_STD[: len(parts)], dtype=torch.float64, device=parts.device)
        aligned = align(parts[:1], self.labels, self.row_weights)
        if self._dlf:
            aligned = torch.cat([aligned, self._aligned])
            weights = fit_fusion_weights(parts, self.labels, self.row_weights, prior_std, aligned)
        else:
            weights = torch.zeros_like(prior_std)
            weights[:1] = aligned
        judged, noise = bool(self.row_weights.any()), 0.0
        if not self._text:
            weights[0] *= credit(prototypes.counts[0], judged=judged)
        if judged:
            factor, noise = calibrate(fuse(parts, weights), self.labels, self.row_weights)
            weights = factor * weights
        return weights, noisy_losses(fuse(parts, weights), self.labels, noise), noise

    def looks(self, prototypes: Prototypes, weights: Tensor) -> LeftOut:
        """The fused logits of the left-out rows.

        A problem that leaves out a whole class, where some classes have no label, says nothing of how well the class is
        told: it is looked at by the problems that know it. A class of one image has none.

        Args:
            prototypes: Of all problems.
            weights: float64 (P,), the fusion weights of `fit`.
        """
        logits = fuse(self._parts(prototypes), weights)[self._looked_at]
        rows, known = self._rows[self._looked_at], self._known[self._looked_at]
        return LeftOut(rows=rows.cpu(), logits=logits.float().cpu(), known=known.cpu())

    def offsets(self, prototypes: Prototypes, weights: Tensor) -> Tensor:
        """What `FusedModel`, which measures from the middle of the class means, adds to all logits of each of `looks`.

        `(x - m) . P (m_k - m) - |m_k - m|_P^2 / 2` is `x . w_k + b_k` less `x . P m - m . P m / 2`, and `P m` is the
        mean of the `w_k`.

        Args:
            prototypes: As for `looks`.
            weights: As for `looks`.

        Returns:
            float32 (M,), for `LeftOut.offsets`.
        """
        pairs = zip(self._features, prototypes.means[1:].mean(1), prototypes.weight[1:].mean(1), strict=True)
        added = torch.cat([0.5 * middle @ mean - features.to(mean) @ mean for features, middle, mean in pairs])
        return (weights[0] * added.to(weights))[self._looked_at].float().cpu()

    def _parts(self, prototypes: Prototypes) -> Tensor:
        """Logits of the left-out rows under prototypes, probe and text, (P, M, C)."""
        pairs = zip(prototypes.bias[1:], self._features, strict=True)
        bias = torch.cat([problem.expand(len(features), -1) for problem, features in pairs])
        fitted = (self._logits(prototypes.weight[1:]) + bias).to(self._others)
        return torch.cat([fitted[None], self._others])


def credit(counts: Tensor, *, judged: bool) -> float:
    """How many times as much as left-out rows say prototypes weigh that no text holds up.

    They know a class better from all its images than from those that a fold keeps, the more so the fewer these are, and
    they lie nearer to one another than the classes do (`paf.movement_rates`). Without text a class falls back to the
    centre of all. With it the anchor stands in, and no credit is due. Both rules are this project's, chosen on rows
    that no draw used (docs/method.md).

    Args:
        counts: float (C,), images behind each prototype, all positive.
        judged: Whether left-out rows had a say. With one image of each class none can be left out.

    Returns:
        `1 + 2 mean_k(1 / N_k)`, or `1 + 4 mean_k(1 / N_k^2)` where no row was judged.
    """
    return 1 + 2 * float((1 / counts).mean()) if judged else 1 + 4 * float((1 / counts.square()).mean())


def _row_weights(data: TrainingData, keep: Tensor) -> Tensor:
    """What each left-out row counts, float64 (M,)."""
    n_classes, missing = data.n_classes, (data.labelled_counts == 0).double().mean()
    every, labels, usable = usable_rows(data), [], []
    for seen in keep[1:]:
        labels.append(data.labels[~seen])
        usable.append(every[~seen])
    # Where every class has a label, a row whose class the fold does not know is one like any other.
    unseen = _known(data, keep) == 0
    groups = torch.cat(labels) + n_classes * (unseen & bool(missing))
    counts = torch.bincount(groups, minlength=2 * n_classes)
    shares = torch.cat([(1 - missing).expand(n_classes), missing.expand(n_classes)])
    usable = torch.cat(usable)
    return balanced_weights(groups, counts, usable if data.text is not None else usable & ~unseen, shares)


def _known(data: TrainingData, keep: Tensor) -> Tensor:
    """How many rows of its class the problem that left a row out saw, int64 (M,)."""
    known = []
    for seen in keep[1:]:
        kept = torch.bincount(data.labels[seen], minlength=data.n_classes)
        known.append(kept[data.labels[~seen]])
    return torch.cat(known)
