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


def grouped_folds(labels: Tensor, groups: Tensor, n_folds: int, generator: torch.Generator) -> Tensor:
    """Give every labelled row a fold, so that no group is in two, and each class is dealt as evenly as groups allow.

    The largest groups come first, each to the fold that has least of its classes.

    Args:
        labels: int64 (N,).
        groups: int64 (N,), at least two.
        n_folds: K, at least 2.
        generator: Source of the order of groups of one size (on the CPU).

    Returns:
        int64 (N,), 0 to K - 1 or less where there are fewer groups, on the device of `labels`.
    """
    found, places = torch.unique(groups.cpu(), return_inverse=True)
    counts = torch.zeros(len(found), int(labels.max()) + 1)
    counts.index_put_((places, labels.cpu()), torch.ones(len(places)), accumulate=True)
    order = torch.randperm(len(found), generator=generator)
    order = order[torch.argsort(counts.sum(1)[order], descending=True, stable=True)]
    shares = counts / counts.sum(0).clamp_min(1)
    loads = torch.zeros(min(n_folds, len(found)), counts.shape[1])
    fold_of = torch.empty(len(found), dtype=torch.int64)
    for group in order.tolist():
        # Ties of folds that hold none of its classes go to the emptier one.
        fold = int((loads @ shares[group] + 1e-6 * loads.sum(1)).argmin())
        fold_of[group] = fold
        loads[fold] += shares[group]
    return fold_of[places].to(labels.device)


def folds_to_leave_out(
    labels: Tensor, n_folds: int, enough: int, generator: torch.Generator, groups: Tensor | None = None
) -> Tensor:
    """Deal the rows into folds, and choose the first folds to be left out until that many rows have been.

    Args:
        labels: int64 (N,).
        n_folds: K, at least 2.
        enough: Rows that are enough; where there are fewer, all folds are left out.
        generator: Source of the order within each class (on the CPU).
        groups: int64 (N,), rows that stay together, or None.

    Returns:
        int64 (N,): 1 to K for a row of a fold that is left out, 0 for the others.
    """
    if groups is None:
        folds = stratified_folds(labels, n_folds, generator) + 1
    else:
        folds = grouped_folds(labels, groups, n_folds, generator) + 1
    sizes = torch.bincount(folds, minlength=n_folds + 1).cumsum(0)
    needed = 1 + int((sizes[1:-1] < enough).sum())
    return torch.where(folds <= needed, folds, 0)


def classes_to_leave_out(counts: Tensor, n_folds: int, generator: torch.Generator) -> Tensor:
    """Choose the labelled classes of which each fold leaves out every row, where some classes have no label at all.

    Such a fold resembles the task: as large a share of the classes that it judges has no row to learn from as of all
    classes. At least one labelled class stays in each fold.

    Args:
        counts: int64 (C,), labelled rows of each class.
        n_folds: K.
        generator: Source of the order of the classes (on the CPU).

    Returns:
        bool (K, C), on the device of `counts`; nowhere True where every class has a label.
    """
    left_out = torch.zeros(n_folds, len(counts), dtype=torch.bool)
    labelled = torch.nonzero(counts.cpu()).flatten()
    missing = len(counts) - len(labelled)
    many = min(max(1, round(len(labelled) * missing / len(counts))), len(labelled) - 1)
    if missing and many > 0:
        order = labelled[torch.randperm(len(labelled), generator=generator)]
        places = torch.arange(n_folds * many).view(n_folds, many) % len(labelled)
        left_out.scatter_(1, order[places], value=True)
    return left_out.to(counts.device)


def balanced_weights(labels: Tensor, counts: Tensor, usable: Tensor, shares: Tensor | None = None) -> Tensor:
    """Weights of rows under which every class counts the same, for estimates of balanced figures from long-tailed rows.

    Each usable row weighs `1 / n_k`; the weights are scaled to sum to Kish's effective sample size
    `(sum w)^2 / sum w^2` (Kish, Survey Sampling, 1965), so that weighted sums carry no more evidence than there is.

    Args:
        labels: int64 (N,).
        counts: int64 (C,), rows of each class.
        usable: bool (N,); the others weigh nothing.
        shares: float64 (C,), what each class is to count, relative to the others; None: all the same.

    Returns:
        float64 (N,).
    """
    weights = usable.double() / counts[labels].double()
    if shares is not None:
        weights = weights * shares[labels]
    return weights * (weights.sum() / weights.square().sum().clamp_min(1e-12))
