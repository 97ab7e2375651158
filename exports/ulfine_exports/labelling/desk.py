"""What the page is about, in one place: labels, answers, queues, searches, and what they are shown as."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.names.written import shown
from ulfine_cache.progress import Progress, Silent
from ulfine_exports.labelling.answers import Answers, answers_of_run, answers_of_text
from ulfine_exports.labelling.inspections import INSPECTIONS
from ulfine_exports.labelling.labels_now import LabelsNow
from ulfine_exports.labelling.look_alikes import LookAlikes
from ulfine_exports.labelling.pictures import Pictures
from ulfine_exports.labelling.queues import QUEUES, Known, Queue
from ulfine_exports.labelling.refit import Refit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.run import Run

PAGE = 60
"""Most rows of one answer."""

_ORDERS = 16
"""Orders of rows that are kept, so that going on through one computes nothing again."""


class Desk:
    """All that the page needs.

    Args:
        cache: The cache, as it is or with the decisions of a run.
        split_name: The split that is worked on, None for the cache's own sets.
        run: The run that answers; None: the text does, where there is some.
        file: Where decisions go.
        refit_to: Directory of the run that a refit makes.
        queues: What is offered.
        progress: Receives notes.

    Raises:
        UlfineError: The file or a part of the cache cannot be used.
    """

    def __init__(
        self,
        cache: FeatureCache,
        split_name: str | None,
        run: Run | None,
        file: Path,
        refit_to: Path,
        *,
        queues: Sequence[Queue] = (*QUEUES, *INSPECTIONS),
        progress: Progress = Silent(),  # noqa: B008
    ) -> None:
        self.cache, self._split_name = cache, split_name
        self.now = LabelsNow(cache, cache.read_split(split_name), file, progress)
        try:
            self.answers: Answers | None = answers_of_text(cache) if run is None else answers_of_run(run, cache)
            self.pictures = Pictures(cache)
        except BaseException:
            self.now.close()
            raise
        if self.pictures.missing:
            progress.note(f"no pictures can be shown: {self.pictures.missing}")
        self.changed: npt.NDArray[np.int64] | None = None
        self.refit = Refit(self.now, run, split_name, refit_to, self._refitted)
        self._queues = {queue.name: queue for queue in queues}
        self._look_alikes = LookAlikes(cache)
        self._orders: OrderedDict[tuple[str, str], npt.NDArray[np.int64]] = OrderedDict()
        self._pictured: OrderedDict[str, npt.NDArray[np.int64]] = OrderedDict()
        self._lock = threading.Lock()

    def close(self) -> None:
        """End what runs, and let others have the file."""
        self.refit.end()
        self.now.close()

    def state(self) -> dict[str, Any]:
        """What stands around the pictures: classes, queues, progress and the refit."""
        now, refit = self.now, self.refit
        with self._lock:
            counts = now.counts()
            return {
                "cache": str(self.cache.path),
                "file": str(now.journal.path),
                "rows": self.cache.n_rows,
                "classes": [{"name": name, "labelled": count} for name, count in zip(now.names, counts, strict=True)],
                "unlabelled": int(self.cache.n_rows - sum(counts)),
                "decided": int(now.decided.sum()),
                "decided_now": now.made_now,
                "per_hour": now.per_hour(),
                "can_undo": bool(now.journal.batches),
                "answers": None if self.answers is None else self.answers.by,
                "queues": [
                    {"name": queue.name, "title": queue.title, "of_class": queue.of_class}
                    for queue in self._queues.values()
                    if not (queue.needs_answers and self.answers is None)
                ],
                "words": self.cache.text_features is not None,
                "encoder": bool(self.cache.attributes.get("weights_hash")),
                "refit": {"state": refit.state, "message": refit.message, "figures": refit.figures},
            }

    def rows(self, queue: str, about: str, after: int, limit: int) -> dict[str, Any]:
        """Some rows of a queue or a search.

        Args:
            queue: Name of a queue; "words", "like" or "picture" for a search.
            about: The chosen class, the words, the number of the row, or what `like_picture` answered.
            after: Where to go on, as the last answer said; 0 begins anew, with what is known now.
            limit: Most rows.

        Returns:
            items (list of `item`), next (where to go on, None at the end) and total (rows of the whole order).

        Raises:
            UlfineError: There is no such queue or row, or nothing can be searched for.
        """
        key = (queue, about)
        order = self._orders.get(key)
        kept = queue in self._queues and self._queues[queue].slow
        if order is None or (after <= 0 and not kept):
            order = self._order(queue, about)
            with self._lock:
                self._orders[key] = order
                self._orders.move_to_end(key)
                while len(self._orders) > _ORDERS:
                    self._orders.popitem(last=False)
        reviews = queue in self._queues and self._queues[queue].reviews
        found: list[int] = []
        place = max(0, after)
        while place < len(order) and len(found) < min(limit, PAGE):
            row = int(order[place])
            if not (reviews and self.now.decided[row]):
                found.append(row)
            place += 1
        with self._lock:
            items = [self.item(row) for row in found]
        return {"items": items, "next": place if place < len(order) else None, "total": len(order)}

    def like_picture(self, content: bytes) -> dict[str, str]:
        """Look for the likes of a picture from elsewhere.

        Args:
            content: The bytes of an image file.

        Returns:
            about: By which `rows` gives them, of the queue "picture".

        Raises:
            UlfineError: It is no picture, or the encoder is not to be had.
        """
        order = self._look_alikes.of_picture(content)
        about = hashlib.sha256(content).hexdigest()
        with self._lock:
            self._pictured[about] = order
            while len(self._pictured) > _ORDERS:
                self._pictured.popitem(last=False)
        return {"about": about}

    def item(self, row: int) -> dict[str, Any]:
        """A row as the page shows it."""
        return {
            "row": row,
            "path": shown(self.now.paths[row]),
            "set": str(self.cache.set_names[row]),
            "label": self.now.name_of(row),
            "decided": bool(self.now.decided[row]),
            "top": [] if self.answers is None else self.answers.of(row),
            "left_out": self.answers is not None and row in self.answers.left_out,
        }

    def decide(self, rows: Sequence[int], label: str) -> dict[str, Any]:
        """Give rows a class; on the disk when this returns.

        Raises:
            UlfineError: A row does not exist, the class has no possible name, or the disk is full.
        """
        if len(set(rows)) < len(rows) or not all(0 <= row < self.cache.n_rows for row in rows) or not rows:
            raise UlfineError(f"rows are different numbers from 0 to {self.cache.n_rows - 1}, at least one")
        with self._lock:
            decided = self.now.decide(rows, label)
            return self._after(decided)

    def undo(self) -> dict[str, Any]:
        """Take back what was decided last.

        Raises:
            UlfineError: The disk is full.
        """
        with self._lock:
            return self._after(self.now.undo())

    def start_refit(self) -> bool:
        """Begin to fit again; whether none was running."""
        with self._lock:
            return self.refit.start(self.answers)

    def _after(self, rows: Sequence[int]) -> dict[str, Any]:
        now = self.now
        return {
            "items": [self.item(row) for row in rows],
            "decided_now": now.made_now,
            "per_hour": now.per_hour(),
            "can_undo": bool(now.journal.batches),
        }

    def _order(self, queue: str, about: str) -> npt.NDArray[np.int64]:
        if queue == "words":
            if not about.strip():
                raise UlfineError("no words to search for")
            return self._look_alikes.of_words(about)
        if queue == "like":
            if not about.isdecimal() or not int(about) < self.cache.n_rows:
                raise UlfineError(f"no row {about!r} to look for the likes of")
            return self._look_alikes.of_row(int(about))
        if queue == "picture":
            if about not in self._pictured:
                raise UlfineError("that picture was forgotten: choose it again")
            return self._pictured[about]
        wanted = self._queues.get(queue)
        if wanted is None or (wanted.needs_answers and self.answers is None):
            raise UlfineError(f"no queue {queue!r}: there are {', '.join(self._queues)}")
        known = Known(self.now, self.answers, about, self.changed, self.refit.run, self._split_name)
        if wanted.slow:
            return wanted.rows(known)
        with self._lock:
            return wanted.rows(known)

    def _refitted(self, answers: Answers, changed: npt.NDArray[np.int64]) -> None:
        with self._lock:
            self.answers, self.changed = answers, changed
            self._orders.clear()
