"""The class prior that a classifier answers for, and how it answers for a test prior instead. No torch.

A classifier that was trained under one class distribution answers for another, the test prior, by

    z_k + log prior_k - log answered_k

since by Bayes' rule the posterior is proportional to likelihood times prior (Saerens et al., Adjusting the outputs of a
classifier to new a priori probabilities, Neural Computation 14, 2002, equation 2.4; on logits: Menon et al., Long-tail
learning via logit adjustment, ICLR 2021). It supposes that only the frequencies of the classes differ, not what their
images look like, and that the probabilities are calibrated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_fast.rows.sample_places import sample_places

FLOOR = 1e-30
"""What a prior of zero counts as: its logarithm, -69, is finite in every format and out of reach of any other class."""

EMPTY_CLASS = 0.5
"""What a class without labelled rows counts as, in rows; as in `ulfine_fast.priors.logit_adjustment.log_prior`."""

IMAGINED = 10
"""Rows a class that an estimate adds from a uniform prior, at least; see `estimate_prior`."""

MAX_ROWS = 100_000
"""Rows that a prior is estimated from, spread evenly over all there are."""

_ROUNDS, _STILL = 1000, 1e-7


def answered_prior(labelled_counts: Sequence[int] | NDArray[np.integer], power: float) -> NDArray[np.float64]:
    """The class prior that the logits of a method answer for, `pi_k^power / sum_j pi_j^power`.

    `pi` are the class frequencies of the labelled rows. A loss `CE(z + tau log pi, y)` makes `z + tau log pi` the
    logits under `pi`, so that `z` is left with the power `1 - tau`.

    Args:
        labelled_counts: (C,) labelled rows of each class; an empty class counts as `EMPTY_CLASS`.
        power: 1 for the labelled frequencies, 0 for a uniform prior; see `ulfine_fast.method.Method.prior_power`.

    Returns:
        float64 (C,), positive, sums to 1.

    Example:
        >>> answered_prior([8, 2], 1.0)
        array([0.8, 0.2])
    """
    weights = np.maximum(np.asarray(labelled_counts, dtype=np.float64), EMPTY_CLASS) ** power
    return weights / weights.sum()


def prior_shift(prior: NDArray[np.float64], answered: NDArray[np.float64]) -> NDArray[np.float64]:
    """What has to be added to logits so that they answer for another prior, `log prior_k - log answered_k`.

    Args:
        prior: (C,) where the answers are needed. A class of zero is as good as never predicted, see `FLOOR`.
        answered: (C,) what the logits answer for now.

    Returns:
        float64 (C,), finite.

    Example:
        >>> np.exp(prior_shift(np.array([0.5, 0.5]), np.array([0.8, 0.2])))
        array([0.625, 2.5  ])
    """
    return np.log(np.maximum(prior, FLOOR)) - np.log(np.maximum(answered, FLOOR))


def probabilities_under(logits: NDArray[np.floating], shift: NDArray[np.float64]) -> NDArray[np.float32]:
    """`softmax(z + shift)`.

    Args:
        logits: float (N, C). Any whose softmax are the probabilities will do, their logarithms too.
        shift: float64 (C,), of `prior_shift`.

    Returns:
        float32 (N, C), rows sum to 1.
    """
    found = np.empty(logits.shape, dtype=np.float32)
    for start in range(0, len(logits), MAX_ROWS):
        found[start : start + MAX_ROWS] = _softmax(logits[start : start + MAX_ROWS] + shift)
    return found


def imagined_rows(n_rows: int, n_classes: int) -> int:
    """Rows of a uniform prior that hold an estimate back: as many as there are rows, at least `IMAGINED` a class."""
    return max(IMAGINED * n_classes, n_rows)


def estimate_prior(logits: NDArray[np.floating], answered: NDArray[np.float64]) -> NDArray[np.float64]:
    """The class distribution of rows without labels, by the EM algorithm of Saerens et al. (2002, section 2.3).

    Responsibilities are the probabilities under the estimate so far; the next estimate is their mean, to which `M`
    imagined rows of a uniform prior are added: `prior_k = (M / C + sum_n r_nk) / (M + N)`. With few of them EM trusts
    the classifier's mistakes as much as its answers: on left-over pool rows it lost up to 14 points of accuracy where
    probabilities are not calibrated. Hence this project's `M`: as many as there are rows, at least `IMAGINED` a class.
    Few rows then leave the estimate close to uniform, no class falls below half of that, and the estimate does not
    depend on which prior the logits answered for.

    Args:
        logits: float (N, C); N may be 0. Of more than `MAX_ROWS` rows, so many are looked at.
        answered: (C,) the prior that they answer for.

    Returns:
        float64 (C,), positive, sums to 1.

    Example:
        >>> estimate_prior(np.array([[9.0, 0.0]] * 100), np.array([0.5, 0.5])).round(2)
        array([0.75, 0.25])
    """
    n_rows, n_classes = logits.shape
    uniform = np.full(n_classes, 1.0 / n_classes)
    if not n_rows:
        return uniform
    if n_rows > MAX_ROWS:
        logits = logits[sample_places(n_rows, MAX_ROWS)]
    likelihoods = _softmax(logits + prior_shift(uniform, answered))
    imagined = imagined_rows(len(logits), n_classes)
    prior = uniform
    for _ in range(_ROUNDS):
        # The sum over rows of responsibilities, without ever holding them: r_nk = p_nk prior_k / sum_j p_nj prior_j.
        counts = prior * (likelihoods.T @ (1.0 / (likelihoods @ prior)))
        before, prior = prior, (imagined * uniform + counts) / (imagined + len(logits))
        if np.abs(prior - before).sum() < _STILL:
            break
    return prior / prior.sum()


def prior_of_weights(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (C,) of at least 0, one of them above, as shares that sum to 1; no sum of large ones overflows."""
    weights = weights / weights.max()
    return weights / weights.sum()


def prior_figures(name: str | None, prior: NDArray[np.float64], class_names: Sequence[str]) -> dict[str, Any]:
    """What a command tells of a test prior: its name, and class name to share."""
    return {"test_prior": name, "class_prior": dict(zip(class_names, prior.tolist(), strict=True))}


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
