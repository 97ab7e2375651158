"""EM with soft pseudo-labels: unlabelled rows refine the prototypes of several problems side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ulfine_fast.closed_form.paf import BLOCK, Moments, Prototypes, second_moment
from ulfine_fast.interruption import Interruption
from ulfine_fast.priors.logit_adjustment import prior_range
from ulfine_fast.rows.streamed_rows import StreamedRows

STILL = 1e-3  # mean share of a pseudo-label that may still move when rounds end


@dataclass(frozen=True)
class Refined:
    """What the rounds end with.

    Attributes:
        prototypes: Of all problems.
        prior: float (S, C), the class prior of the unlabelled rows in the whole problem of each seed.
        histories: Of that problem in each round of the seed: ``confidence``, the mean confidence of the pseudo-labels,
            and ``prior_min`` and ``prior_max``, the smallest and the largest share of a class.
    """

    prototypes: Prototypes
    prior: Tensor
    histories: list[list[dict[str, float]]]


def sample_size(n_features: int, n_classes: int) -> int:
    """How many unlabelled rows the rounds run on: eight a dimension or forty a class, whichever is more."""
    return max(8 * n_features, 40 * n_classes)


def sample_rows(n_rows: int, n_features: int, n_classes: int, generator: torch.Generator) -> Tensor | None:
    """Which unlabelled rows the rounds run on, see `sample_size`.

    Args:
        n_rows: Unlabelled rows.
        n_features: D.
        n_classes: C.
        generator: Source of the sample (on the CPU).

    Returns:
        int64, in rising order, or None where that is all of them.
    """
    size = sample_size(n_features, n_classes)
    return None if n_rows <= size else torch.randperm(n_rows, generator=generator)[:size].sort().values


def refine(
    rows: Sequence[Tensor],
    every: Tensor | StreamedRows | None,
    labelled: Moments,
    prototypes: Prototypes,
    *,
    n_seeds: int = 1,
    classify: Callable[[Prototypes], tuple[Tensor, Tensor]],
    fit: Callable[[Moments], Prototypes],
    share: float,
    rounds: int,
    report: Callable[[int, dict[str, float]], None],
    interruption: Interruption,
) -> Refined:
    """Alternate between soft pseudo-labels under an estimated class prior and prototypes fitted with them.

    The rounds of a seed end early when its pseudo-labels stand still. Where there are many rows, the rounds run on a
    sample of them, weighted to stand for all, and one more round over all rows, read once for all seeds, ends them. An
    interruption ends them with the prototypes of the last whole round.

    Args:
        rows: float32 (M, D), unlabelled rows for the rounds: one sample for each seed, or one for all.
        every: float32 (N, D), all of them where `rows` are samples, else None.
        labelled: Moments of the labelled rows of B problems.
        prototypes: Where to begin.
        n_seeds: S; each has as many problems, and its whole one is the first of them.
        classify: From prototypes to the classifier (B, C, D) and (B, C) that gives pseudo-labels under a uniform prior.
        fit: From moments to prototypes.
        share: What a pseudo-labelled row counts, relative to a labelled one.
        rounds: At most.
        report: Told about each round and its figures, see `Refined.histories`, as means over the seeds.
        interruption: Looked at after each round and each block of rows.
    """
    n_problems, n_classes = labelled.counts.shape
    per_seed, per_sample = n_problems // n_seeds, n_problems // len(rows)
    groups = [slice(first, first + per_sample) for first in range(0, n_problems, per_sample)]
    multiple = 1.0 if every is None else len(every) / len(rows[0])
    # Every row weighs the same whatever its pseudo-label, so the second moment never changes.
    grams = [second_moment(own, labelled.gram.dtype) for own in rows]
    gram = grams[0] if len(rows) == 1 else torch.stack(grams).repeat_interleave(per_sample, 0)
    log_prior = labelled.counts.new_zeros(n_problems, n_classes)
    before: list[Tensor] = []
    moving = torch.ones(n_seeds, dtype=torch.bool, device=gram.device)
    histories: list[list[dict[str, float]]] = [[] for _ in range(n_seeds)]
    for round_ in range(1, rounds + 1):
        weight, bias = classify(prototypes)
        bias = bias + log_prior
        labels = [_pseudo_labels(own, weight[of], bias[of]) for own, of in zip(rows, groups, strict=True)]
        counts = torch.cat([each.sum(0) for each in labels])
        sums = torch.cat([_sums(each, own) for each, own in zip(labels, rows, strict=True)])
        moments = Moments(counts.to(gram), sums.to(gram), gram)
        fitted, prior = fit(labelled.plus(moments, share * multiple)), _log_prior(counts, len(rows[0]))
        if not moving.all():
            own = moving.repeat_interleave(per_seed)
            fitted, prior = fitted.where(own, prototypes), torch.where(own[:, None], prior, log_prior)
        prototypes, log_prior = fitted, prior
        confidence = torch.cat([each[:, ::per_seed].amax(-1).mean(0) for each in labels])
        figures = {"confidence": confidence, **prior_range(log_prior[::per_seed].exp())}
        for seed in moving.nonzero().flatten().tolist():
            histories[seed].append({name: float(values[seed]) for name, values in figures.items()})
        report(round_, {name: float(values.mean()) for name, values in figures.items()})
        if interruption.requested:
            return Refined(prototypes, log_prior[::per_seed].exp(), histories)
        if before:
            moved = torch.cat([_moved(*pair) for pair in zip(before, labels, strict=True)])
            moving &= moved.view(n_seeds, -1).amax(1) >= STILL
            if not moving.any():
                break
        before = labels
    if every is not None:
        weight, bias = classify(prototypes)
        moments = _moments(every, weight, bias + log_prior, gram.dtype, interruption)
        if moments is not None:
            log_prior = _log_prior(moments.counts, len(every))
            prototypes = fit(labelled.plus(moments, share))
    return Refined(prototypes, log_prior[::per_seed].exp(), histories)


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


def _moved(before: Tensor, labels: Tensor) -> Tensor:
    """The mean share of a pseudo-label that moved in each problem, (B,); overwrites `before`."""
    return 0.5 * before.sub_(labels).abs_().sum(-1).mean(0)


def _moments(
    rows: Tensor | StreamedRows, weight: Tensor, bias: Tensor, dtype: torch.dtype, interruption: Interruption
) -> Moments | None:
    """Moments of all rows under their pseudo-labels, in one pass in blocks that stay in the cache of the processor.

    None where the pass was interrupted.
    """
    counts = torch.zeros(bias.shape, dtype=torch.float64, device=bias.device)
    sums = torch.zeros(weight.shape, dtype=torch.float64, device=bias.device)
    gram = torch.zeros(weight.shape[-1], weight.shape[-1], dtype=torch.float64, device=bias.device)
    for block in rows.split(BLOCK):
        if interruption.requested:
            return None
        labels = _pseudo_labels(block, weight, bias)
        counts += labels.sum(0)
        sums += _sums(labels, block)
        gram += second_moment(block, dtype)
    return Moments(counts.to(dtype), sums.to(dtype), gram.to(dtype))
