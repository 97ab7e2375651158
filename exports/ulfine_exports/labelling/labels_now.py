"""The labels of a cache as they stand now, and the decisions that change them one after the other."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.labelling.decisions import UNLABELLED, class_decided
from ulfine_cache.labelling.journal import Decision, Journal
from ulfine_cache.labelling.relabelled import RelabelledCache
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.splitting.split_draw import Split
from ulfine_cache.wording.counts import amount, subject

_WINDOW = 600.0
"""Seconds over which the rate is counted."""


class LabelsNow:
    """What is labelled at this moment; every change is in the journal before it is seen here.

    Labels that a split hides are not shown: to people, its unlabelled rows are unlabelled.

    Args:
        cache: The cache as it is on the disk, or with the decisions that a run was fitted with.
        split: The split that is worked on.
        file: Where decisions go.
        progress: Told what the file holds already.

    Attributes:
        cache: As given.
        split: As given.
        names: Names of the classes; new ones are added at the end.
        labels: int64 (n,), an index into `names`, -1 = unlabelled.
        decided: bool (n,): whether the file says anything about a row.
        version: Grows with every change.

    Raises:
        UlfineError: The file cannot be used.
    """

    def __init__(
        self,
        cache: FeatureCache,
        split: Split,
        file: Path,
        progress: Progress = Silent(),  # noqa: B008
    ) -> None:
        self.cache, self.split = cache, split
        self.names = list(cache.class_names)
        self._numbers = {name: number for number, name in enumerate(self.names)}
        seen = np.zeros(cache.n_rows, bool)
        for rows in (split.labelled, split.val, split.test):
            seen[rows] = True
        self.labels = np.where(seen, cache.labels, -1)
        self.decided = np.zeros(cache.n_rows, bool)
        self.version = 0
        self.paths = cache.paths
        self._rows = _unique_rows(self.paths)
        self._times: deque[float] = deque()
        self.made_now = 0
        self.journal = Journal(file, progress)
        self._take_over(progress)

    def close(self) -> None:
        """Let others have the file."""
        self.journal.close()

    def name_of(self, row: int) -> str:
        """The class of a row, "" for none."""
        number = int(self.labels[row])
        return self.names[number] if number >= 0 else UNLABELLED

    def class_name(self, text: str) -> str:
        """The class that somebody typed, "" for none.

        Raises:
            UlfineError: It cannot be the name of a class.
        """
        if text == UNLABELLED or text in self._numbers:
            return text
        try:
            return class_decided(text)
        except ValueError as error:
            raise UlfineError(str(error)) from error

    def decide(self, rows: Sequence[int], text: str) -> list[int]:
        """Give rows a class, together; the decisions are on the disk when this returns.

        Args:
            rows: Each once, each in range.
            text: Name of the class, new or not; "" for none.

        Returns:
            The rows.

        Raises:
            UlfineError: The class has no possible name, a row's path is not its own, or the disk is full.
        """
        label = self.class_name(text)
        for row in rows:
            if self._rows[self.paths[row]] != row:
                raise UlfineError(
                    f"{self.paths[row]} is the path of several rows of {self.cache.path}: a decision could not tell "
                    "which is meant"
                )
        self._show(self.journal.append([(self.paths[row], label, self.name_of(row)) for row in rows]))
        now = time.monotonic()
        self._times.extend([now] * len(rows))
        self.made_now += len(rows)
        return list(rows)

    def undo(self) -> list[int]:
        """Take back what was decided last, also before this start; the rows, [] where there is nothing."""
        taken_back = self.journal.undo()
        self._show(taken_back)
        rows = [self._rows[each.path] for each in taken_back if each.path in self._rows]
        # A row about which nothing else was decided waits for a decision again.
        about = {each.path for batch in self.journal.batches for each in batch}
        for row in rows:
            self.decided[row] = self.paths[row] in about
        for _ in rows[: len(self._times)]:
            self._times.pop()
        self.made_now = max(0, self.made_now - len(rows))
        return rows

    def per_hour(self) -> int | None:
        """Decisions an hour by those of the last ten minutes; None for fewer than five."""
        now = time.monotonic()
        while self._times and self._times[0] < now - _WINDOW:
            self._times.popleft()
        if len(self._times) < 5:
            return None
        return round(3600 * len(self._times) / max(1.0, now - self._times[0]))

    def counts(self) -> list[int]:
        """Rows of each class now, in the order of `names`."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.names)).tolist()

    def numbers_in(self, class_names: Sequence[str]) -> npt.NDArray[np.int64]:
        """int64 (n,): the labels as indices into other names; -1: unlabelled, -2: the class is none of them."""
        place = {name: number for number, name in enumerate(class_names)}
        return np.array([*(place.get(name, -2) for name in self.names), -1], np.int64)[self.labels]

    def _take_over(self, progress: Progress) -> None:
        """Begin with what the file holds, and put in front of it what a run was fitted with."""
        known = [each for each in self.journal.decisions if self._rows.get(each.path, -1) >= 0]
        self._show(known)
        # What was taken back waits for a decision again.
        self.decided[:] = False
        about = {each.path for batch in self.journal.batches for each in batch}
        self.decided[[row for path in about if (row := self._rows.get(path, -1)) >= 0]] = True
        foreign = len(self.journal.decisions) - len(known)
        if foreign:
            progress.note(f"{subject(foreign, 'line', 'is/are')} about images that {self.cache.path} does not have")
        if isinstance(self.cache, RelabelledCache):
            there = {each.path for each in self.journal.decisions}
            more = [item for item in self.cache.decisions.labels.items() if item[0] not in there]
            if more:
                self.journal.append([(path, label, UNLABELLED) for path, label in more])
                self.journal.batches.pop()
                progress.note(f"{amount(len(more), 'decision')} of the run taken over into {self.journal.path}")
            for path, _ in more:
                self.decided[self._rows[path]] = True
        if known:
            progress.note(f"{self.journal.path} holds {amount(int(self.decided.sum()), 'decided image')}: going on")

    def _show(self, decisions: Sequence[Decision]) -> None:
        for each in decisions:
            row = self._rows.get(each.path, -1)
            if row < 0:
                continue
            if each.label == UNLABELLED:
                number = -1
            else:
                number = self._numbers.setdefault(each.label, len(self.names))
                if number == len(self.names):
                    self.names.append(each.label)
            self.labels[row] = number
            self.decided[row] = True
        self.version += 1


def _unique_rows(paths: Sequence[str]) -> dict[str, int]:
    """The row of each path, -1 where several have it."""
    found: dict[str, int] = {}
    for row, path in enumerate(paths):
        found[path] = -1 if path in found else row
    return found
