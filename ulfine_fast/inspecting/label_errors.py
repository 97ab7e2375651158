"""Which labels are wrong: the rows whose class fits that did not see them believe least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ulfine_cache.errors import UlfineError
from ulfine_fast.inspecting.left_out_rows import left_out_rows
from ulfine_fast.inspecting.nearest import nearest

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData

CONFUSABLE = 0.1
"""Share of wrong labels that are taken for mix-ups of like classes; the others may be any class. More finds more
mix-ups and fewer slips where classes are hard to tell (docs/inspect.md)."""
LIKENESS = 0.1
"""Difference in cosine of centred class means at which a class is e times as likely to be mixed up."""
NEIGHBOURS = 10


@dataclass(frozen=True)
class LabelErrors:
    """What is thought of each label.

    Attributes:
        scores: float64 (N,), log-odds that the label is right rather than wrong, up to a constant: low is suspicious;
            NaN where nobody can say.
        self_confidence: float64 (N,) in [0, 1]: cleanlab's score, the left-out probability of the label.
        suggestions: int64 (N,), the class that left-out fits take the row for.
        agreeing: float64 (N,) in [0, 1]: the share of its nearest labelled rows that has its label; classes weigh the
            same, however many rows they have.
        expected: How many labels are wrong, as cleanlab estimates from the same probabilities.
    """

    scores: NDArray[np.float64]
    self_confidence: NDArray[np.float64]
    suggestions: NDArray[np.int64]
    agreeing: NDArray[np.float64]
    expected: int

    def order(self) -> NDArray[np.int64]:
        """Rows, the most suspicious first; those that cannot be judged are last."""
        return np.argsort(np.where(np.isnan(self.scores), np.inf, self.scores), kind="stable")

    def suspected(self) -> NDArray[np.bool_]:
        """Bool (N,): the first `expected` of `order` whose suggestion is another class than their label's."""
        found = np.zeros(len(self.scores), np.bool_)
        found[self.order()[: self.expected]] = True
        return found & ~np.isnan(self.scores)


def find_label_errors(data: TrainingData, seed: int, progress: Progress) -> LabelErrors:
    """Judge every label by fits that did not see the row.

    A wrong label comes from class k with the probability `T[k, y]`: a part is any class (`1 / (C - 1)`), a part a like
    one, by the softmax of the cosines of centred class means. The score is Bayes' rule for it,
    `log p(y | x) - log sum_k T[k, y] p(k | x)`, with the left-out probabilities under a uniform class prior, so that a
    rare class is no reason for suspicion. With the first part alone the order is cleanlab's `self_confidence`
    (Northcutt et al., Confident learning, JAIR 2021; Kuan and Mueller, Model-agnostic label quality scoring, 2022). The
    second is this project's decision.

    Args:
        data: Labelled rows; unlabelled ones are not looked at.
        seed: Of the folds.
        progress: Told about the fits.

    Raises:
        UlfineError: cleanlab is missing.
    """
    rank, count = _cleanlab()
    labels = data.labels.cpu().numpy()
    found = left_out_rows(data, seed, progress)
    logs = found.log_probabilities
    probabilities = np.exp(logs)
    own = np.arange(len(labels))
    confused = _confusion(data)[:, labels].T
    scores = logs[own, labels] - np.log((probabilities * confused).sum(1) + 1e-300)
    others = logs.copy()
    others[own[~found.judged], labels[~found.judged]] = np.inf  # nothing speaks against the label
    confidence = rank.get_label_quality_scores(labels, probabilities, method="self_confidence")
    return LabelErrors(
        scores=np.where(found.judged, scores, np.nan),
        self_confidence=np.where(found.judged, confidence, np.nan),
        suggestions=others.argmax(1),
        agreeing=_agreeing(data.features, labels, data.n_classes),
        expected=_expected(count, labels[found.judged], probabilities[found.judged]),
    )


def _cleanlab() -> tuple[Any, Any]:
    try:
        from cleanlab import count, rank
    except ImportError as error:
        raise UlfineError("label errors need cleanlab: pip install 'ulfine-fast[inspect]'") from error
    return rank, count


def _expected(count: Any, labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> int:
    """How many labels are wrong; classes without a row have no part in it."""
    classes, places = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        return 0
    of_classes = probabilities[:, classes]
    of_classes = of_classes / of_classes.sum(1, keepdims=True).clip(1e-300)
    return int(count.num_label_issues(places, of_classes, estimation_method="off_diagonal"))


def _confusion(data: TrainingData) -> NDArray[np.float64]:
    """`T[k, y]`, float64 (C, C), 0 on the diagonal; rows sum to 1."""
    n_classes, features, labels = data.n_classes, data.features.double().cpu().numpy(), data.labels.cpu().numpy()
    counts = np.bincount(labels, minlength=n_classes)
    sums = np.zeros((n_classes, features.shape[1]))
    np.add.at(sums, labels, features)
    means = np.where(counts[:, None] > 0, sums / counts.clip(1)[:, None], features.mean(0))
    means -= means.mean(0)
    means /= np.linalg.norm(means, axis=1, keepdims=True).clip(1e-12)
    alike = means @ means.T / LIKENESS
    np.fill_diagonal(alike, -np.inf)
    alike = np.exp(alike - alike.max(1, keepdims=True))
    table = CONFUSABLE * alike / alike.sum(1, keepdims=True) + (1 - CONFUSABLE) / (n_classes - 1)
    np.fill_diagonal(table, 0)
    return table


def _agreeing(features: torch.Tensor, labels: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    _, places = nearest(features, NEIGHBOURS)
    weights = 1 / np.bincount(labels, minlength=n_classes).clip(1)[labels]
    there = places >= 0
    of = np.where(there, weights[places], 0.0)
    return (of * (labels[places] == labels[:, None])).sum(1) / of.sum(1).clip(1e-300)
