"""Cross-validation folds of long-tailed labels, and what each row is worth in them."""

from __future__ import annotations

import torch
from torch import Tensor


def stratified_folds(labels: Tensor, n_folds: int, generator: torch.Generator) -> Tensor:
    """Give every labelled row a fold, so that each class is dealt as evenly as its count allows.

    A class of two rows has them in two folds, a class of one row in one. Classes start at different folds, so that
    folds are of like size too.

    Args:
        labels: int64 (N,).
        n_folds: K, at least 2.
        generator: Source of the order within each class (on the CPU).

    Returns:
        int64 (N,), 0 to K - 1, on the device of `labels`.
    """
    order = torch.randperm(len(labels), generator=generator)
    by_class = order[torch.argsort(labels.cpu()[order], stable=True)]
    folds = torch.empty(len(labels), dtype=torch.int64)
    folds[by_class] = torch.arange(len(labels)) % n_folds
    return folds.to(labels.device)


def folds_to_leave_out(labels: Tensor, n_folds: int, enough: int, generator: torch.Generator) -> Tensor:
    """Deal the rows into folds, and choose the first folds to be left out until that many rows have been.

    Args:
        labels: int64 (N,).
        n_folds: K, at least 2.
        enough: Rows that are enough; where there are fewer, all folds are left out.
        generator: Source of the order within each class (on the CPU).

    Returns:
        int64 (N,): 1 to K for a row of a fold that is left out, 0 for the others.
    """
    folds = stratified_folds(labels, n_folds, generator) + 1
    sizes = torch.bincount(folds, minlength=n_folds + 1).cumsum(0)
    needed = 1 + int((sizes[1:-1] < enough).sum())
    return torch.where(folds <= needed, folds, 0)


def balanced_weights(labels: Tensor, counts: Tensor, usable: Tensor) -> Tensor:
    """Weights of rows under which every class counts the same, for estimates of balanced figures from long-tailed rows.

    Each usable row weighs `1 / n_k`; the weights are scaled to sum to Kish's effective sample size
    `(sum w)^2 / sum w^2` (Kish, Survey Sampling, 1965), so that weighted sums carry no more evidence than there is.

    Args:
        labels: int64 (N,).
        counts: int64 (C,), rows of each class.
        usable: bool (N,); the others weigh nothing.

    Returns:
        float64 (N,).
    """
    weights = usable.double() / counts[labels].double()
    return weights * (weights.sum() / weights.square().sum().clamp_min(1e-12))
