"""Two models on the same rows: who is right where, by class and in all. numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_fast.deciding.paired_difference import paired_difference
from ulfine_fast.judging.metrics import class_groups, evaluate_predictions


@dataclass(frozen=True)
class Contest:
    """Answers of an old and a new model for the same rows.

    Attributes:
        names: C names: the classes of the old model, then those that only the new one has.
        truth: int64 (N,).
        old: float32 (N, C), probabilities; 0 where a model does not know a class.
        new: float32 (N, C).
        known: Classes that old and new know: bool (2, C).
        labelled: int64 (C,), labelled images of each class, which define head and tail: of the old model, where it
            says, else of the new one.
    """

    names: tuple[str, ...]
    truth: NDArray[np.int64]
    old: NDArray[np.float32]
    new: NDArray[np.float32]
    known: NDArray[np.bool_]
    labelled: NDArray[np.int64]

    @property
    def common(self) -> NDArray[np.bool_]:
        """Bool (N,): rows of classes that both know."""
        return (self.known[0] & self.known[1])[self.truth]

    @property
    def right(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Bool (N,) each: whether the old one and the new one are right."""
        return self.old.argmax(axis=1) == self.truth, self.new.argmax(axis=1) == self.truth

    def figures(self, rows: NDArray[np.bool_]) -> dict[str, Any]:
        """Compare on some of the rows.

        Args:
            rows: Bool (N,).

        Returns:
            ``rows``, ``classes``; ``macro_accuracy``, ``accuracy`` and ``tail_accuracy``, each None or as
            `ulfine_fast.deciding.paired_difference.PairedDifference.figures`; ``ece`` and ``nll``, each ``old`` and
            ``new``.
        """
        old, new = (right[rows] for right in self.right)
        truth = self.truth[rows]
        tail = np.isin(truth, class_groups(self.labelled)["tail"])
        compared = {
            "macro_accuracy": paired_difference(old, new, truth),
            "accuracy": paired_difference(old, new, np.zeros_like(truth)),
            "tail_accuracy": paired_difference(old[tail], new[tail], truth[tail]),
        }
        sides = [evaluate_predictions(of[rows], truth, self.labelled, self.names) for of in (self.old, self.new)]
        return {
            "rows": len(truth),
            "classes": len(np.unique(truth)),
            **{name: None if found is None else found.figures() for name, found in compared.items()},
            **{name: {"old": sides[0][name], "new": sides[1][name]} for name in ("ece", "nll")},
        }

    def per_class(self) -> list[dict[str, Any]]:
        """Of every class ``name``, ``rows``, ``won`` and ``lost``, and the recalls; None where no row says it."""
        found: list[dict[str, Any]] = []
        old, new = self.right
        for k, name in enumerate(self.names):
            rows = self.truth == k
            compared = paired_difference(old[rows], new[rows], np.zeros(int(rows.sum()), np.int64))
            figures: dict[str, float | None] = dict.fromkeys(("old", "new", "difference", "low", "high"))
            if compared is not None:
                figures.update(compared.figures())
            found.append(
                {
                    "name": name,
                    "known_to_old": bool(self.known[0, k]),
                    "known_to_new": bool(self.known[1, k]),
                    "rows": int(rows.sum()),
                    "won": int((new & ~old)[rows].sum()),
                    "lost": int((old & ~new)[rows].sum()),
                    **figures,
                }
            )
        return found

    def flips(self) -> dict[str, NDArray[np.int64]]:
        """Rows whose answer changed, int64 places, the most confident first: ``lost``, ``won`` and ``both_wrong``."""
        old, new = self.right
        changed = self.old.argmax(axis=1) != self.new.argmax(axis=1)
        masks = {"lost": old & ~new, "won": new & ~old, "both_wrong": changed & ~old & ~new}
        surest = np.argsort(-self.new.max(axis=1), kind="stable")
        return {name: surest[mask[surest]] for name, mask in masks.items()}


def contest(
    classes: tuple[Sequence[str], Sequence[str]],
    answers: tuple[NDArray[np.float32], NDArray[np.float32]],
    truth: Sequence[str],
    labelled: Sequence[int],
) -> Contest:
    """Bring the answers of two models to one list of classes.

    Args:
        classes: Names of the classes of the old model and of the new one, in the order of their columns.
        answers: float32 (N, .) of either.
        truth: N names, each a class of either.
        labelled: Labelled images of each class, as `Contest.names`.

    Example:
        >>> table = np.array([[0.9, 0.1]], np.float32)
        >>> found = contest((["a", "b"], ["b", "c"]), (table, table), ["b"], [1, 1, 1])
        >>> found.names, found.new.tolist()[0][0], found.common.tolist()
        (('a', 'b', 'c'), 0.0, [True])
    """
    names = union_of(*classes)
    place = {name: number for number, name in enumerate(names)}
    wide = [np.zeros((len(truth), len(names)), np.float32) for _ in answers]
    known = np.zeros((2, len(names)), bool)
    for side, (own, table) in enumerate(zip(classes, answers, strict=True)):
        columns = [place[name] for name in own]
        wide[side][:, columns] = table
        known[side, columns] = True
    rows = np.array([place[name] for name in truth], np.int64)
    return Contest(names, rows, wide[0], wide[1], known, np.asarray(labelled, np.int64))


def union_of(old: Sequence[str], new: Sequence[str]) -> tuple[str, ...]:
    """The classes of the old model, then those that only the new one has."""
    return tuple(dict.fromkeys([*old, *new]))
