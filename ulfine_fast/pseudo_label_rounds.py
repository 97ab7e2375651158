"""EM with soft pseudo-labels: unlabelled rows refine the prototypes of several problems side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ulfine_fast.gaussian_prototypes import BLOCK, Moments, Prototypes, second_moment

STILL = 1e-3  # mean share of a pseudo-label that may still move when rounds end


@dataclass(frozen=True)
class Refined:
    """What the rounds end with.

    Attributes:
        prototypes: Of all problems.
        prior: float (C,), the class prior of the unlabelled rows in problem 0.
        confidence: Mean confidence of problem 0's pseudo-labels in each round on the sample.
    """

    prototypes: Prototypes
    prior: Tensor
    confidence: list[float]


def sample_rows(n_rows: int, n_features: int, n_classes: int, generator: torch.Generator) -> Tensor | None:
    """Which unlabelled rows the rounds run on: eight a dimension or forty a class, whichever is more.

    Args:
        n_rows: Unlabelled rows.
        n_features: D.
        n_classes: C.
        generator: Source of the sample (on the CPU).

    Returns:
        int64, in rising order, or None where that is all of them.
    """
    size = max(8 * n_features, 40 * n_classes)
    return None if n_rows <= size else torch.randperm(n_rows, generator=generator)[:size].sort().values


def refine(
    unlabelled: Tensor,
    sample: Tensor | None,
    labelled: Moments,
    prototypes: Prototypes,
    *,
    classify: Callable[[Prototypes], tuple[Tensor, Tensor]],
    fit: Callable[[Moments], Prototypes],
    share: float,
    rounds: int,
    report: Callable[[int, float], None],
) -> Refined:
    """Alternate between soft pseudo-labels under an estimated class prior and prototypes fitted with them.

    Rounds end early when pseudo-labels stand still. Where there are many rows, the rounds run on a sample of them,
    weighted to stand for all, and one more round over all rows ends them.

    Args:
        unlabelled: float32 (N, D).
        sample: int64, rows for the rounds; None for all.
        labelled: Moments of the labelled rows of B problems.
        prototypes: Where to begin.
        classify: From prototypes to the classifier (B, C, D) and (B, C) that gives pseudo-labels under a uniform prior.
        fit: From moments to prototypes.
        share: What a pseudo-labelled row counts, relative to a labelled one.
        rounds: At most.
        report: Told about each round and its confidence.
    """
    n_problems, n_classes = labelled.counts.shape
    rows = unlabelled if sample is None else unlabelled[sample]
    multiple = len(unlabelled) / len(rows)
    # Every row weighs the same whatever its pseudo-label, so the second moment never changes.
    gram = second_moment(rows, labelled.gram.dtype)
    log_prior = labelled.counts.new_zeros(n_problems, n_classes)
    before = rows.new_empty(0)
    history: list[float] = []
    for round_ in range(1, rounds + 1):
        weight, bias = classify(prototypes)
        labels = _pseudo_labels(rows, weight, bias + log_prior)
        counts, sums = labels.sum(0), _sums(labels, rows)
        log_prior = _log_prior(counts, len(rows))
        moments = Moments(counts.to(gram), sums.to(gram), gram)
        prototypes = fit(labelled.plus(moments, share * multiple))
        history.append(float(labels[:, 0].amax(-1).mean()))
        report(round_, history[-1])
        if len(before) and _moved(before, labels) < STILL:
            break
        before = labels
    if sample is not None:
        weight, bias = classify(prototypes)
        every = _moments(unlabelled, weight, bias + log_prior, gram.dtype)
        log_prior = _log_prior(every.counts, len(unlabelled))
        prototypes = fit(labelled.plus(every, share))
    return Refined(prototypes, log_prior[0].exp(), history)


def _pseudo_labels(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Soft pseudo-labels (N, B, C) of rows (N, D), for all problems by one matrix product."""
    logits = torch.addmm(bias.to(rows).flatten(), rows, weight.to(rows).flatten(0, 1).T)
    return torch.softmax(logits.view(len(rows), *bias.shape), dim=-1)


def _sums(labels: Tensor, rows: Tensor) -> Tensor:
    """Sums of rows (N, D) weighted by pseudo-labels (N, B, C), (B, C, D)."""
    return (labels.flatten(1).T @ rows).view(*labels.shape[1:], -1)


def _log_prior(counts: Tensor, n_rows: int) -> Tensor:
    """Logarithm of the class prior (B, C) that soft counts give, with one more row for every class."""
    return ((counts + 1) / (n_rows + counts.shape[-1])).log()


def _moved(before: Tensor, labels: Tensor) -> float:
    """The mean share of a pseudo-label that moved, in the problem where most did; overwrites `before`."""
    return 0.5 * float(before.sub_(labels).abs_().sum(-1).mean(0).max())


def _moments(rows: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Moments:
    """Moments of all rows under their pseudo-labels, in blocks that stay in the cache of the processor."""
    counts = torch.zeros(bias.shape, dtype=torch.float64, device=rows.device)
    sums = torch.zeros(weight.shape, dtype=torch.float64, device=rows.device)
    for block in rows.split(BLOCK):
        labels = _pseudo_labels(block, weight, bias)
        counts += labels.sum(0)
        sums += _sums(labels, block)
    return Moments(counts.to(dtype), sums.to(dtype), second_moment(rows, dtype))
