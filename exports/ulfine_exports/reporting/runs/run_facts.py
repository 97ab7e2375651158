"""What a report says of a run, gathered from its directory and, as far as it is still there, from its cache."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.errors import UlfineError
from ulfine_exports.reporting.runs.judged_rows import JudgedRows, answers, cross_validated

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.run import Run

CROSS_VALIDATED = "cross_validated.csv"
MOST_STEPS = 400
"""Entries of the history that are drawn."""


@dataclass
class RunFacts:
    """A run and what is known about its rows.

    Attributes:
        run: The run.
        cache: Its cache; None where it is gone or another one by now.
        split: The rows that it was fitted on and judged on.
        judged: Rows that it never learnt from and whose truth is known: test rows, or else labelled rows by
            cross-validation.
        by_cross_validation: Whether `judged` are the latter.
        unlabelled: Unlabelled rows.
        history: Entries of ``history.csv``, by column; NaN where an entry lacks the column.
        missing: Sentences: what the report cannot show, and why.
    """

    run: Run
    cache: FeatureCache | None = None
    split: Split | None = None
    judged: JudgedRows | None = None
    by_cross_validation: bool = False
    unlabelled: JudgedRows | None = None
    history: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def order(self) -> NDArray[np.int64]:
        """The classes, most labelled images first."""
        return np.argsort(-np.asarray(self.run.labelled_counts), kind="stable")

    @property
    def prior(self) -> NDArray[np.float64] | None:
        """The share of each class among the unlabelled rows as the method estimated it, float64 (C,)."""
        found = (self.run.provenance.get("diagnostics") or {}).get("unlabelled_prior")
        if not isinstance(found, dict) or set(found) != set(self.run.class_names):
            return None
        return np.array([float(found[name]) for name in self.run.class_names])

    def groups(self) -> dict[str, NDArray[np.int64]]:
        """Classes of head, medium and tail."""
        from ulfine_fast.judging.metrics import class_groups

        found = class_groups(self.run.labelled_counts)
        return {name: found[name] for name in ("head", "medium", "tail")}


def gather(run: Run, cache: Path | None = None) -> RunFacts:
    """Gather what can be known of a run.

    Args:
        run: A loaded run.
        cache: Where its cache is now; None takes the place that the run remembers.
    """
    from ulfine_fast.run import HISTORY

    facts = RunFacts(run, history=_history(run.path / HISTORY))
    try:
        _read_cache(facts, cache)
    except UlfineError as error:
        facts.missing.append(f"Pictures and single answers are missing: {error}.")
        facts.cache = facts.split = None
    if facts.split is not None and facts.cache is not None:
        _ask(facts, facts.cache, facts.split)
    return facts


def _read_cache(facts: RunFacts, cache: Path | None) -> None:
    from ulfine_fast.evaluate import fitted_split, open_cache_of

    run = facts.run
    opened = facts.cache = open_cache_of(run, cache)
    if run.cache is None or run.cache["fingerprint"] != opened.fingerprint:
        raise UlfineError(f"the cache {opened.path} holds other rows than those the run was fitted on")
    made = run.provenance.get("split") or {}
    found = fitted_split(run, opened) or opened.read_split(made.get("requested"))
    sizes = {part: len(getattr(found, part)) for part in ("labelled", "unlabelled", "test")}
    if any(made.get(part, size) != size for part, size in sizes.items()):
        raise UlfineError(f"the split {made.get('requested')!r} of {opened.path} holds other rows by now")
    facts.split = found


def _ask(facts: RunFacts, cache: FeatureCache, split: Split) -> None:
    file = facts.run.path / CROSS_VALIDATED
    if len(split.test):
        facts.judged = answers(facts.run, cache, split.test, parts=True)
    elif file.is_file():
        try:
            found = cross_validated(file, cache, split.labelled)
            if len(found.rows):
                facts.judged, facts.by_cross_validation = found, True
        except UlfineError as error:
            facts.missing.append(f"The cross-validated answers are missing: {error}.")
    if len(split.unlabelled):
        facts.unlabelled = answers(facts.run, cache, split.unlabelled)


def _history(path: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a history but its steps, thinned out; empty where there is none that can be drawn."""
    from ulfine_fast.rows.sample_places import sample_places

    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
        columns = {name: np.array([_number(line[name]) for line in lines]) for name in (lines[0] if lines else ())}
    except (OSError, ValueError, TypeError, csv.Error):
        return {}
    places = sample_places(len(lines), MOST_STEPS)
    return {name: values[places] for name, values in columns.items()}


def _number(cell: str) -> float:
    return float(cell) if cell else math.nan
