"""Fits again with the decisions so far, in the background, and says what changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress
from ulfine_exports.labelling.answers import Answers, answers_of_run
from ulfine_exports.serve.bounds.daemon_threads import DaemonThreads

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ulfine_exports.labelling.labels_now import LabelsNow
    from ulfine_fast.run import Run

Truth = tuple[npt.NDArray[np.int64], npt.NDArray[np.object_]]
"""Rows that a run is judged on, and the names of their classes."""


class Refit:
    """One fit after the other, of the same cache, split, method and settings.

    Args:
        now: The labels as they stand.
        run: The run that is gone on from; None fits the default method.
        split: Name of the split, None for the cache's own sets.
        out: Directory of the run that is made; what an earlier refit left there is replaced.
        ready: Called with the new answers, the rows whose answer changed and the new run, on the thread of the fit.

    Attributes:
        state: "none", "running", "done" or "failed".
        message: What it says last.
        figures: Of the last refit that ended well.
        run: The run that is gone on from, the last that was made.
    """

    def __init__(
        self,
        now: LabelsNow,
        run: Run | None,
        split: str | None,
        out: Path,
        ready: Callable[[Answers, npt.NDArray[np.int64]], None],
    ) -> None:
        self.run = run
        self._now, self._split, self._out, self._ready = now, split, out, ready
        self._threads = DaemonThreads(1, "refit")
        self.state, self.message = "none", ""
        self.figures: dict[str, Any] | None = None
        self.done: Future[None] | None = None

    def start(self, answers: Answers | None) -> bool:
        """Begin, unless one is running; whether it did."""
        if self.state == "running":
            return False
        self.state, self.message = "running", "fitting"
        # The labels that it begins with are those that it is compared on.
        truth, decisions = self._truth(), int(self._now.decided.sum())
        self.done = self._threads.submit(self._work, answers, truth, decisions)
        return True

    def end(self) -> None:
        """Wait a moment for what is running, and leave the rest."""
        self._threads.end(0.5)

    def _work(self, former: Answers | None, truth: Truth, decisions: int) -> None:
        try:
            self._fit(former, truth, decisions)
            self.state = "done"
        except UlfineError as error:
            self.state, self.message = "failed", str(error)
        except Exception as error:
            # Of a thread nobody sees, otherwise.
            self.state, self.message = "failed", f"the fit failed ({type(error).__name__}: {error})"

    def _fit(self, former: Answers | None, truth: Truth, decisions: int) -> None:
        from ulfine_fast.fitting import fit

        started = time.perf_counter()
        given: dict[str, Any] = {}
        if self.run is not None:
            from ulfine_fast.run import CONFIG

            config = self.run.config
            given = {
                "method": self.run.method,
                "settings": self.run.path / CONFIG,
                "seed": config["seed"],
                "views": self.run.views,
                "reject_outliers": "rejected_outliers" in config,
            }
        run = fit(
            cache=self._now.cache.path,
            out=self._out,
            split=self._split,
            apply=self._now.journal.path,
            text_only_classes=True,
            overwrite=True,
            progress=_Noted(self),
            **given,
        )
        answers = answers_of_run(run, self._now.cache)
        changed = _changed(former, answers)
        unlabelled = self._now.labels[changed] < 0
        self.figures = {
            "run": str(run.path),
            "seconds": round(time.perf_counter() - started, 1),
            "decisions": decisions,
            **_compared(former, answers, truth, self.run, run),
            "changed": None if former is None else len(changed),
            "changed_unlabelled": None if former is None else int(unlabelled.sum()),
            "answers": len(answers.top),
        }
        self.run = run
        self._ready(answers, changed)

    def _truth(self) -> Truth:
        rows = self._now.split.test
        rows = rows[self._now.labels[rows] >= 0]
        return rows, np.array([self._now.name_of(row) for row in rows.tolist()], object)


class _Noted(Progress):
    """Shows the last note of a fit on the page."""

    def __init__(self, refit: Refit) -> None:
        self._refit = refit

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        """Steps are too many to show."""

    def note(self, message: str) -> None:
        """Show it."""
        self._refit.message = message


def _changed(former: Answers | None, answers: Answers) -> npt.NDArray[np.int64]:
    if former is None:
        return np.empty(0, np.int64)
    before = np.array(former.class_names, object)[former.top[:, 0]]
    rows = np.flatnonzero(before != np.array(answers.class_names, object)[answers.top[:, 0]])
    return rows[np.argsort(-answers.confidence[rows], kind="stable")]


def _compared(former: Answers | None, answers: Answers, truth: Truth, before: Run | None, after: Run) -> dict[str, Any]:
    """Accuracy before and after: on the test rows as they are labelled now, or else cross-validated by each fit."""
    rows, names = truth
    if len(rows):
        pair = [None if each is None else _accuracy(each, rows, names) for each in (former, answers)]
        figures = {
            name: {"before": None if pair[0] is None else pair[0][place], "after": pair[1][place] if pair[1] else None}
            for place, name in enumerate(("accuracy", "macro_accuracy"))
        }
        return {"judged": "test rows", "rows": len(rows), **figures}
    found = [_cross_validated(run) for run in (before, after)]
    if found[1] is None:
        return {"judged": None, "rows": 0, "accuracy": None, "macro_accuracy": None}
    figures = {
        name: {
            when: None if each is None else each[name]["value"]
            for when, each in zip(("before", "after"), found, strict=True)
        }
        for name in ("accuracy", "macro_accuracy")
    }
    return {"judged": "labelled rows, cross-validated", "rows": found[1]["rows"], **figures}


def _cross_validated(run: Run | None) -> dict[str, Any] | None:
    return None if run is None else run.metrics.get("cross_validated")


def _accuracy(answers: Answers, rows: npt.NDArray[np.int64], names: npt.NDArray[np.object_]) -> tuple[float, float]:
    right = np.array(answers.class_names, object)[answers.top[rows, 0]] == names
    recalls = [right[names == name].mean() for name in sorted(set(names.tolist()))]
    return round(float(right.mean()), 4), round(float(np.mean(recalls)), 4)
