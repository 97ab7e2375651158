"""In which order images are shown: each queue is one function from what is known now to rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ulfine_exports.labelling.answers import Answers
    from ulfine_exports.labelling.labels_now import LabelsNow
    from ulfine_fast.run import Run

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """What a queue may look at.

    Attributes:
        now: The labels as they stand.
        answers: What the model says, None where there is none.
        class_name: The class that was chosen, "" for none.
        changed: Rows whose answer the last refit changed, the surest first.
        run: The run that answers, None where none does.
        split_name: The split that is worked on, None for the cache's own sets.
    """

    now: LabelsNow
    answers: Answers | None
    class_name: str = ""
    changed: Rows | None = None
    run: Run | None = None
    split_name: str | None = None


@dataclass(frozen=True)
class Queue:
    """One way to go through the images.

    Attributes:
        name: By which it is asked for.
        title: For people.
        rows: Gives the rows in order, int64.
        of_class: Whether it wants a class to be chosen.
        reviews: Whether rows that are decided already are left out.
        needs_answers: Whether it is there only where a model answers.
        slow: Whether it takes seconds, so that it is asked once for each run.
    """

    name: str
    title: str
    rows: Callable[[Known], Rows]
    of_class: bool = False
    reviews: bool = True
    needs_answers: bool = True
    slow: bool = False


def least_sure(known: Known) -> Rows:
    """Unlabelled rows, those first about which the model is least sure."""
    assert known.answers is not None
    rows = _unlabelled(known)
    return rows[np.argsort(known.answers.confidence[rows], kind="stable")]


def most_sure(known: Known) -> Rows:
    """Unlabelled rows that the model takes for one class, the surest first: to be confirmed twenty at a time."""
    answers = known.answers
    assert answers is not None
    if known.class_name not in answers.class_names:
        return _unlabelled(known)[:0]
    number = list(answers.class_names).index(known.class_name)
    rows = _unlabelled(known)
    rows = rows[answers.top[rows, 0] == number]
    return rows[np.argsort(-answers.probabilities[rows, number].astype(np.float32), kind="stable")]


def disagreement(known: Known) -> Rows:
    """Labelled rows, those first whose label the model believes least; by left-out answers where there are some."""
    answers = known.answers
    assert answers is not None
    numbers = known.now.numbers_in(answers.class_names)
    rows = np.flatnonzero(numbers >= 0)
    belief = answers.probabilities[rows, numbers[rows]].astype(np.float32)
    for place, row in enumerate(rows.tolist()):
        if row in answers.left_out:
            belief[place] = answers.left_out[row][numbers[row]]
    return rows[np.argsort(belief, kind="stable")]


def of_class(known: Known) -> Rows:
    """All rows of one class, in the cache's order."""
    names = known.now.names
    number = names.index(known.class_name) if known.class_name in names else -2
    return np.flatnonzero(known.now.labels == number)


def unlabelled(known: Known) -> Rows:
    """All unlabelled rows, in the cache's order."""
    return _unlabelled(known)


def changed(known: Known) -> Rows:
    """Rows that the model answers otherwise since the last refit."""
    return np.empty(0, np.int64) if known.changed is None else known.changed


QUEUES = (
    Queue("least-sure", "Least sure first", least_sure),
    Queue("most-sure", "Surest of one class", most_sure, of_class=True),
    Queue("disagreement", "Labels the model doubts", disagreement),
    Queue("class", "One class", of_class, of_class=True, reviews=False, needs_answers=False),
    Queue("unlabelled", "Unlabelled, in order", unlabelled, needs_answers=False),
    Queue("changed", "Changed by the last refit", changed, reviews=False),
)
"""In the order in which they are offered."""


def _unlabelled(known: Known) -> Rows:
    return np.flatnonzero(known.now.labels < 0)
