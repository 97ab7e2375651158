"""What fits that did not see a labelled row say of it: more and better balanced looks than a fit of `ulfine` takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ulfine_fast.closed_form.fits import Fits, in_row_space
from ulfine_fast.closed_form.fold_problems import fold_problems
from ulfine_fast.closed_form.ulfine_settings import UlfineSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData

FOLDS = 10
DEALS = 3
"""How often the rows are dealt into folds anew."""

GROUP_ROWS = 10_000
"""Rows that are cross-validated together: of more nobody learns more, and memory is bounded."""
FEW = 20
"""Rows a group needs of a class; all rows of a class with fewer in each are in every group."""


@dataclass(frozen=True)
class LeftOutRows:
    """What is known of labelled rows from fits without them.

    Attributes:
        log_probabilities: float64 (N, C), under a uniform class prior: the mean over looks, normalised. Calibrated on
            left-out rows, with wrong labels allowed for.
        judged: bool (N,), False where nothing is left to judge a row by: the only row of a class without text.
    """

    log_probabilities: NDArray[np.float64]
    judged: NDArray[np.bool_]


def left_out_rows(data: TrainingData, seed: int, progress: Progress) -> LeftOutRows:
    """Leave every labelled row out once in each of several deals of folds.

    The fits are those of `ulfine` without unlabelled rows. They are the better judges here: pseudo-labels repeat what
    wrong labels say.

    Args:
        data: The rows; unlabelled ones are not looked at.
        seed: Of the folds.
        progress: Told about the fits under "leaving out".
    """
    data = replace(data, unlabelled=data.features[:0], strong_views=None)
    generator = torch.Generator().manual_seed(seed)
    groups = _groups(data.labels.cpu().numpy(), data.n_classes, np.random.default_rng(seed))
    deals = DEALS if len(groups) == 1 else 1
    sums = np.zeros((len(data.labels), data.n_classes))
    looks = np.zeros(len(data.labels), np.int64)
    for number, rows in enumerate(groups * deals):
        chosen = torch.as_tensor(rows, device=data.labels.device)
        sums[rows] += _one_deal(replace(data, features=data.features[chosen], labels=data.labels[chosen]), generator)
        looks[rows] += 1
        progress.update("leaving out", number + 1, len(groups) * deals)
    mean = torch.as_tensor(sums / looks[:, None])
    alone = (data.labelled_counts == 1)[data.labels].cpu().numpy()
    judged = ~alone if data.text is None else np.ones(len(alone), np.bool_)
    return LeftOutRows(torch.log_softmax(mean, dim=-1).numpy(), judged)


def _groups(labels: NDArray[np.int64], n_classes: int, generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Rows of each group, together every row; one group where they are few."""
    number = -(-len(labels) // GROUP_ROWS)
    if number == 1:
        return [np.arange(len(labels))]
    order = generator.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    group = np.empty(len(labels), np.int64)
    group[by_class] = np.arange(len(labels)) % number
    rare = (np.bincount(labels, minlength=n_classes) < FEW * number)[labels]
    return [np.flatnonzero(rare | (group == place)) for place in range(number)]


def _one_deal(data: TrainingData, generator: torch.Generator) -> NDArray[np.float64]:
    """Log-probabilities of all rows, each by the problem that left it out, float64 (N, C)."""
    width = data.n_features
    spanned, _ = in_row_space(data)
    problems = fold_problems(spanned, UlfineSettings(folds=FOLDS), width, generator, enough=len(data.labels))
    fitted, _ = Fits(problems).from_labelled_rows()
    own, *others = fitted.weights
    parts = [problems.probes] if problems.text is None else [problems.probes, problems.text.expand_as(problems.probes)]
    weight = own * fitted.prototypes.weight.double()
    weight += sum(share * part.double() for share, part in zip(others, parts, strict=False))
    bias = own * fitted.prototypes.bias.double()
    sums = torch.zeros(len(data.labels), data.n_classes, dtype=torch.float64, device=weight.device)
    looks = torch.zeros(len(data.labels), 1, dtype=torch.float64, device=weight.device)
    rows = spanned.features.double()
    for seen, of_problem, offset in zip(problems.keep[1:], weight[1:], bias[1:], strict=True):
        sums[~seen] += torch.log_softmax(rows[~seen] @ of_problem.T + offset, dim=-1)
        looks[~seen] += 1
    # Where classes have no label, folds leave out whole classes too, and rows are looked at more than once. With fewer
    # rows than folds none is looked at: nothing is known.
    return _known(sums, looks).cpu().numpy()


def _known(sums: Tensor, looks: Tensor) -> Tensor:
    uniform = torch.full_like(sums, -float(np.log(sums.shape[1])))
    return torch.where(looks > 0, sums / looks.clamp_min(1), uniform)
