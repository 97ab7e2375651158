"""From which confidence on answers are right often enough: a threshold learnt from left-out rows. numpy only.

Each class counts the same, as in macro accuracy: rows of frequent classes, which long-tailed labels are full of, are
easier, and a threshold for them would promise too much of a balanced test set (`benchmarks/decide.py`). Beside the rows
that are accepted a few imagined ones of mean accuracy are counted (`ulfine_fast.judging.accepted_rows`), so that a few
right rows at the top do not settle it.

The threshold makes the *estimated* accuracy reach the target. What left-out rows *guarantee* is another thing: with
95 % confidence at least the low end of Clopper and Pearson's interval (The use of confidence or fiducial limits
illustrated in the case of the binomial, Biometrika 26, 1934) at the effective number of accepted rows. Even if all of n
are right it is only 0.05^(1/n): for 0.95 that takes 59 rows. All of it holds for rows like the labelled ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_fast.deciding.class_thresholds import AcceptBy, answers_to_judge, learn_class_thresholds
from ulfine_fast.judging.accepted_rows import Thresholds, accepted_rows, balanced_weights, lowest_threshold

LEVEL = 0.95
"""How sure the guarantee is."""


@dataclass(frozen=True)
class Acceptance:
    """When an answer is accepted.

    Attributes:
        target: Accuracy of accepted rows that was asked for, 0 to 1.
        threshold: Least confidence of an accepted answer; 0 accepts all, more than 1 none. Where classes have their
            own, that of the others.
        rows: Left-out rows that it was learnt from.
        accepted: How many of them reach it, or that of their class.
        coverage: Share of them, each class counting the same.
        accuracy: Of those that reach it, each class counting the same; None where none does.
        promised: Accuracy that is guaranteed with 95 % confidence, 0 where nothing is.
    """

    target: float
    threshold: float
    rows: int
    accepted: int
    coverage: float
    accuracy: float | None
    promised: float

    @property
    def rows_to_promise(self) -> int:
        """How many rows, all of them right, would guarantee the target."""
        return math.ceil(math.log(1 - LEVEL) / math.log(self.target)) if 0 < self.target < 1 else 0

    def figures(self) -> dict[str, Any]:
        """All of it, JSON-able."""
        return {
            "target_accuracy": self.target,
            "threshold": self.threshold,
            "rows": self.rows,
            "accepted": self.accepted,
            "coverage": self.coverage,
            "accuracy": self.accuracy,
            "promised": self.promised,
            "rows_to_promise": self.rows_to_promise,
        }


def learn_acceptance(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], target: float
) -> Acceptance | None:
    """Learn the threshold from rows that the model did not learn from.

    Args:
        probabilities: float (M, C).
        labels: int (M,), of the same rows.
        target: Accuracy to reach, more than 0 and less than 1.

    Returns:
        The lowest threshold at which the estimated accuracy of all rows above it reaches the target; None without rows.

    Example:
        >>> table = np.tile([[0.9, 0.1], [0.6, 0.4]], (50, 1))
        >>> found = learn_acceptance(table, np.tile([0, 1], 50), 0.9)
        >>> found.threshold, found.accepted
        (0.9, 50)
    """
    if not len(labels):
        return None
    right = probabilities.argmax(axis=1) == labels
    threshold = lowest_threshold(probabilities.max(axis=1), right, balanced_weights(labels), target)
    return _measured(probabilities, labels, target, threshold, threshold)


def _measured(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    target: float,
    threshold: float,
    thresholds: Thresholds,
) -> Acceptance:
    """What thresholds do to left-out rows, each class counting the same."""
    taken = accepted_rows(probabilities, thresholds)
    if not taken.any():
        return Acceptance(target, threshold, len(labels), 0, 0.0, None, 0.0)
    right = probabilities.argmax(axis=1) == labels
    # Summed from the most confident on, as they are ranked.
    order = np.argsort(-probabilities.max(axis=1), kind="stable")
    weights = balanced_weights(labels)[order]
    mine, hits = weights[taken[order]], (weights * right[order])[taken[order]]
    total = float(np.cumsum(mine)[-1])
    accuracy = float(np.cumsum(hits)[-1]) / total
    effective = float(mine.sum() ** 2 / (mine**2).sum())
    return Acceptance(
        target,
        threshold,
        len(labels),
        int(taken.sum()),
        total / float(np.cumsum(weights)[-1]),
        accuracy,
        lower_bound(accuracy * effective, effective),
    )


def lower_bound(hits: float, n: float) -> float:
    """The low end of Clopper and Pearson's one-sided 95 % interval of a share.

    Args:
        hits: Rows that are right; may be a fraction, of an effective number of rows.
        n: Rows.

    Example:
        >>> round(lower_bound(59, 59), 3), lower_bound(0, 9)
        (0.95, 0.0)
    """
    from scipy.stats import beta

    return float(beta.ppf(1 - LEVEL, hits, n - hits + 1)) if hits > 0 else 0.0


def acceptance_figures(
    left_out: tuple[NDArray[np.floating], NDArray[np.integer]],
    tested: tuple[NDArray[np.floating], NDArray[np.integer]],
    labelled_counts: NDArray[np.integer],
    target: float,
    accept_by: AcceptBy = "all",
) -> dict[str, Any] | None:
    """Learn a threshold, or one for each class, and hold it to test rows.

    Args:
        left_out: float (M, C) and int (M,), probabilities and labels of left-out rows. Those of a class of one image
            have no say: nothing was left to learn it from.
        tested: float (N, C) and int (N,), the same of test rows.
        labelled_counts: int (C,).
        target: Accuracy to reach.
        accept_by: ``"class"``: a threshold for each class that has answers enough.

    Returns:
        `Acceptance.figures`, under ``test`` `accepted_figures` (None without test rows) and under ``by_class``
        `promised_by_class`; None where no labelled row was left out. By class the figures are those of all thresholds
        together, ``answers_to_judge`` is there, and each entry of ``by_class`` has ``answers`` (left-out rows that are
        taken for the class), ``threshold``, ``judged`` (whether that is its own, and not the one for all) and
        ``accuracy`` of those that are accepted, each class counting the same; None where none is.
    """
    judged = labelled_counts[left_out[1]] > 1
    table, labels = left_out[0][judged], left_out[1][judged]
    learnt = learn_acceptance(table, labels, target)
    if learnt is None:
        return None
    thresholds: Thresholds = learnt.threshold
    extra: dict[str, Any] = {}
    own: list[dict[str, Any]] = [{}] * table.shape[1]
    if accept_by == "class":
        common, needed = learnt.threshold, answers_to_judge(target)
        thresholds, counts = learn_class_thresholds(table, labels, target, common)
        learnt = _measured(table, labels, target, common, thresholds)
        extra = {"answers_to_judge": needed}
        accuracies = _accuracy_by_class(table, labels, thresholds)
        own = [
            {"answers": count, "threshold": threshold, "judged": count >= needed, "accuracy": accuracy}
            for threshold, count, accuracy in zip(thresholds, counts, accuracies, strict=True)
        ]
    test = accepted_figures(*tested, thresholds) if len(tested[1]) else None
    promised = promised_by_class(table, labels, thresholds)
    by_class = [{**entry, **mine} for entry, mine in zip(promised, own, strict=True)]
    return {**learnt.figures(), **extra, "test": test, "by_class": by_class}


def _accuracy_by_class(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], thresholds: Thresholds
) -> list[float | None]:
    """Of accepted answers that name a class, which share is right, each true class counting the same."""
    weights, accepted = balanced_weights(labels), accepted_rows(probabilities, thresholds)
    answers = probabilities.argmax(axis=1)[accepted]
    n_classes = probabilities.shape[1]
    sums = np.bincount(answers, weights[accepted], n_classes)
    hits = np.bincount(answers, (weights[accepted] * (answers == labels[accepted])), n_classes)
    return [float(hit / total) if total else None for hit, total in zip(hits, sums, strict=True)]


def promised_by_class(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], thresholds: Thresholds
) -> list[dict[str, Any]]:
    """What accepted answers promise, answer by answer: of those that name a class, how many are right.

    Args:
        probabilities: float (M, C), of left-out rows.
        labels: int (M,).
        thresholds: Least confidence, for all or by class.

    Returns:
        For each class, in order: ``accepted`` (rows taken for it, from the threshold on), ``right`` and ``promised``,
        the accuracy that is guaranteed with 95 % confidence, 0 where nothing is. Each is a promise of its own: that all
        of many hold at once is less sure.

    Example:
        >>> promised_by_class(np.array([[0.9, 0.1]] * 59), np.zeros(59, int), 0.5)[0]["promised"] > 0.95
        True
    """
    answers = np.where(accepted_rows(probabilities, thresholds), probabilities.argmax(axis=1), -1)
    found: list[dict[str, Any]] = []
    for k in range(probabilities.shape[1]):
        mine = answers == k
        accepted, right = int(mine.sum()), int((labels[mine] == k).sum())
        found.append({"accepted": accepted, "right": right, "promised": lower_bound(right, accepted)})
    return found


def accepted_figures(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], thresholds: Thresholds
) -> dict[str, Any]:
    """What a threshold does to rows with known classes.

    Args:
        probabilities: float (N, C).
        labels: int (N,).
        thresholds: Least confidence, for all or by class.

    Returns:
        ``rows``, ``accepted``, ``coverage`` (share that is accepted) and ``accuracy`` of these; None where no row says.

    Example:
        >>> accepted_figures(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]), 0.8)
        {'rows': 2, 'accepted': 1, 'coverage': 0.5, 'accuracy': 1.0}
    """
    if not len(labels):
        return {"rows": 0, "accepted": 0, "coverage": None, "accuracy": None}
    accepted = accepted_rows(probabilities, thresholds)
    right = (probabilities.argmax(axis=1) == labels)[accepted]
    return {
        "rows": len(labels),
        "accepted": int(accepted.sum()),
        "coverage": float(accepted.mean()),
        "accuracy": float(right.mean()) if len(right) else None,
    }
