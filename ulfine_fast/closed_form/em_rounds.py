"""EM with soft pseudo-labels: unlabelled rows refine the prototypes of several problems side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ulfine_fast.closed_form.paf import BLOCK, Moments, Prototypes, second_moment
from ulfine_fast.interruption import Interruption
from ulfine_fast.priors.logit_adjustment import prior_range
from ulfine_fast.processes.group import add_up, share_of
from ulfine_fast.rows.streamed_rows import StreamedRows

STILL = 1e-3  # mean share of a pseudo-label that may still move when rounds end


@dataclass(frozen=True)
class Refined:
    """What the rounds end with.

    Attributes:
        prototypes: Of all problems.
        prior: float (C,), the class prior of the unlabelled rows in the whole problem, the first.
        history: Of that problem in each round: ``confidence``, the mean confidence of the pseudo-labels, and
            ``prior_min`` and ``prior_max``, the smallest and the largest share of a class.
    """

    prototypes: Prototypes
    prior: Tensor
    history: list[dict[str, float]]


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


class EveryRow:
    """All unlabelled rows, for the last round of several fits: their second moment is computed in the first.

    Where several processes fit together, each reads its share of the rows, and the sums are added up.

    Args:
        rows: float32 (N, D).
    """

    def __init__(self, rows: Tensor | StreamedRows) -> None:
        self._rows, own = rows, share_of(len(rows))
        self._own = rows.run_of(own) if isinstance(rows, StreamedRows) else rows[own]
        # Every row weighs the same whatever its pseudo-label, so this never changes.
        self._gram: Tensor | None = None

    def __len__(self) -> int:
        """N."""
        return len(self._rows)

    def moments(self, weight: Tensor, bias: Tensor, dtype: torch.dtype, interruption: Interruption) -> Moments | None:
        """Moments under pseudo-labels, in one pass in blocks that stay in the cache of the processor.

        Args:
            weight: float (B, C, D), of the classifiers that give the pseudo-labels.
            bias: float (B, C).
            dtype: Of the result.
            interruption: Looked at after each block.

        Returns:
            None where the pass was interrupted.
        """
        counts = torch.zeros(bias.shape, dtype=torch.float64, device=bias.device)
        sums = torch.zeros(weight.shape, dtype=torch.float64, device=bias.device)
        gram = torch.zeros(weight.shape[-1], weight.shape[-1], dtype=torch.float64, device=bias.device)
        for block in self._own.split(BLOCK):
            if interruption.requested:
                return None
            labels = _pseudo_labels(block, weight, bias)
            counts += labels.sum(0)
            sums += _sums(labels, block)
            if self._gram is None:
                gram += second_moment(block, dtype)
        add_up(counts, sums)
        if self._gram is None:
            add_up(gram)
            self._gram = gram
        return Moments(counts.to(dtype), sums.to(dtype), self._gram.to(dtype))


def refine(
    rows: Tensor,
    every: EveryRow | None,
    labelled: Moments,
    prototypes: Prototypes,
    *,
    classify: Callable[[Prototypes], tuple[Tensor, Tensor]],
    fit: Callable[[Moments], Prototypes],
    share: float,
    imagined: float = 0.0,
    rounds: int,
    report: Callable[[int, dict[str, float]], None],
    interruption: Interruption,
) -> Refined:
    """Alternate between soft pseudo-labels under an estimated class prior and prototypes fitted with them.

    Rounds end early when pseudo-labels stand still. Where there are many rows, the rounds run on a sample of them,
    weighted to stand for all, and one more round over all rows ends them. An interruption ends them with the prototypes
    of the last whole round.

    Args:
        rows: float32 (M, D), unlabelled rows for the rounds.
        every: All of them where `rows` are a sample, else None.
        labelled: Moments of the labelled rows of B problems.
        prototypes: Where to begin.
        classify: From prototypes to the classifier (B, C, D) and (B, C) that gives pseudo-labels under a uniform prior.
        fit: From moments to prototypes.
        share: What a pseudo-labelled row counts, relative to a labelled one.
        imagined: Rows of a uniform prior that hold the prior of the pseudo-labels back, beside one for every class.
        rounds: At most.
        report: Told about each round and its figures, see `Refined.history`.
        interruption: Looked at after each round and each block of rows.
    """
    multiple = 1.0 if every is None else len(every) / len(rows)
    # It is the same in every round, as in `EveryRow`.
    gram = second_moment(rows, labelled.gram.dtype)
    prior = torch.ones_like(labelled.counts) / labelled.counts.shape[-1]
    log_prior = prior.log()
    before: Tensor | None = None
    history: list[dict[str, float]] = []
    for round_ in range(1, rounds + 1):
        weight, bias = classify(prototypes)
        labels = _pseudo_labels(rows, weight, bias + log_prior)
        counts = labels.sum(0)
        moments = Moments(counts.to(gram), _sums(labels, rows).to(gram), gram)
        prototypes, prior = fit(labelled.plus(moments, share * multiple)), _prior(counts, len(rows))
        log_prior = _held_back(prior, len(rows) * multiple, imagined).log()
        figures = {"confidence": labels[:, 0].amax(-1).mean(), **prior_range(prior[0])}
        history.append({name: float(value) for name, value in figures.items()})
        report(round_, history[-1])
        if interruption.requested:
            return Refined(prototypes, prior[0], history)
        if before is not None and _moved(before, labels) < STILL:
            break
        before = labels
    if every is not None:
        weight, bias = classify(prototypes)
        moments = every.moments(weight, bias + log_prior, gram.dtype, interruption)
        if moments is not None:
            prior = _prior(moments.counts, len(every))
            prototypes = fit(labelled.plus(moments, share))
    return Refined(prototypes, prior[0], history)


def _pseudo_labels(rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Soft pseudo-labels (N, B, C) of rows (N, D), for all problems by one matrix product."""
    logits = torch.addmm(bias.to(rows).flatten(), rows, weight.to(rows).flatten(0, 1).T)
    return torch.softmax(logits.view(len(rows), *bias.shape), dim=-1)


def _sums(labels: Tensor, rows: Tensor) -> Tensor:
    """Sums of rows (N, D) weighted by pseudo-labels (N, B, C), (B, C, D)."""
    return (labels.flatten(1).T @ rows).view(*labels.shape[1:], -1)


def _prior(counts: Tensor, n_rows: int) -> Tensor:
    """The class prior (B, C) that soft counts give, with one more row for every class."""
    return (counts + 1) / (n_rows + counts.shape[-1])


def _held_back(prior: Tensor, n_rows: float, imagined: float) -> Tensor:
    """The prior (B, C) of `n_rows` rows and `imagined` ones of a uniform prior."""
    return (n_rows * prior + imagined / prior.shape[-1]) / (n_rows + imagined)


def _moved(before: Tensor, labels: Tensor) -> float:
    """The mean share of a pseudo-label that moved, in the problem where it is most; overwrites `before`."""
    return float(0.5 * before.sub_(labels).abs_().sum(-1).mean(0).amax())
