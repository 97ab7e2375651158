"""The decisions about labels that a run was fitted with: a copy in its directory, told by its digest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import APPLIED
from ulfine_cache.labelling.decisions import Decisions, read_decisions
from ulfine_cache.labelling.relabelled import RelabelledCache, apply_labels
from ulfine_cache.names.csv_cells import csv_lines
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.remote.places import place

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.run import Run

LABELS = "labels.csv"
"""In the directory of a run: what was decided last about each image, with the columns path and label."""


def describe_applied(cache: FeatureCache) -> dict[str, Any]:
    """What a run remembers of the decisions that were applied: nothing where there were none."""
    return {APPLIED: cache.applied} if isinstance(cache, RelabelledCache) else {}


def write_applied(folder: Path, cache: FeatureCache) -> None:
    """Write the decisions that were applied into the directory of a run, where there were some."""
    if not isinstance(cache, RelabelledCache):
        return
    with csv_lines(folder / LABELS) as write:
        write(["path", "label"])
        for path, label in cache.decisions.labels.items():
            write([path, label])


def with_labels_of(
    run: Run,
    cache: FeatureCache,
    other: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> FeatureCache:
    """Give a cache the labels that a run was fitted with, and the run's classes in their order.

    Args:
        run: A loaded run.
        cache: The cache that it was fitted on, as it is on the disk, or another one.
        other: Other decisions about its labels; None takes those of the run, which are about its own cache alone.
        progress: Told what `other` changes.

    Raises:
        UlfineError: The run's copy of the decisions is damaged, or a class is none of the run's.
    """
    made = run.provenance.get(APPLIED)
    if other is not None:
        decisions = read_decisions(other, progress)
        return apply_labels(cache, decisions, class_names=run.class_names, progress=progress)
    if made is None or run.cache is None:
        return cache
    if run.cache["fingerprint"] != cache.fingerprint and place(run.cache["path"]).resolve() != cache.path.resolve():
        # A cache that was made with the same classes since has them in another order.
        same = sorted(cache.class_names) == sorted(run.class_names)
        return apply_labels(cache, Decisions("", {}, {}), class_names=run.class_names) if same else cache
    decisions = read_decisions(run.path / LABELS)
    if decisions.digest != made["sha256"]:
        raise UlfineError(
            f"{run.path / LABELS} has changed since the run was fitted, by its SHA-256 in provenance.json: fit it again"
        )
    return apply_labels(cache, decisions, class_names=run.class_names)
