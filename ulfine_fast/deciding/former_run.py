"""A fit that follows a former one: what it takes over, and how the classes that both have fared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ulfine_cache.errors import UlfineError
from ulfine_cache.wording.counts import subject
from ulfine_fast.deciding.contest import contest, union_of
from ulfine_fast.judging.five_crops import choose_views
from ulfine_fast.judging.judge import read_probabilities
from ulfine_fast.records.applied_labels import LABELS
from ulfine_fast.records.rows_fitted_on import paths_fitted_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.progress import Progress
    from ulfine_cache.splits import Split
    from ulfine_fast.run import Run


def taken_over(former: Run, given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a fit like a former one: what is given otherwise than by default wins.

    Args:
        former: The former run.
        given: ``method``, ``settings``, ``split``, ``seed``, ``views`` and ``apply`` as they were given.
        defaults: What they are when nobody gives them.

    Example:
        >>> from ulfine_fast.run import load_run
        >>> given = {"method": "ulfine", "settings": None, "split": None, "seed": 3, "views": "auto", "apply": None}
        >>> found = taken_over(run, given, {**given, "seed": 0})
        >>> found["seed"], found["settings"]
        (3, PosixPath('runs/first/config.yaml'))
    """
    config = former.config
    own: dict[str, Any] = {name: config.get(name) for name in ("method", "split", "seed", "views")}
    own["apply"] = former.path / LABELS if (former.path / LABELS).is_file() else None
    same_method = given["method"] in (defaults["method"], own["method"])
    own["settings"] = former.path / "config.yaml" if same_method else None
    return {name: own[name] if value == defaults[name] else value for name, value in given.items()}


def against_former(
    former: Run,
    cache: FeatureCache,
    split: Split,
    probabilities: NDArray[np.float32],
    labelled_counts: NDArray[np.integer],
    progress: Progress,
) -> dict[str, Any] | None:
    """Compare a new model with a former run on test rows that the former one does not know.

    Args:
        former: The former run.
        cache: That the new model was fitted on.
        split: Of that cache.
        probabilities: float32 (n_test, C), of the new model.
        labelled_counts: int (C,), of the new model.
        progress: Told what is left out.

    Returns:
        ``run`` (its directory), ``common`` and ``whole`` as `ulfine_fast.deciding.contest.Contest.figures`, and
        ``per_class``; None where no row can be compared.

    Raises:
        UlfineError: The former run is of another encoder.
    """
    known = paths_fitted_on(former.path)
    rows = np.arange(len(split.test))
    if known is None:
        progress.note(f"{former.path} does not say what it was fitted on: test rows among that flatter it")
    else:
        rows = np.flatnonzero([path not in known for path in cache.paths_of(split.test)])
        if len(rows) < len(split.test):
            fitted = subject(len(split.test) - len(rows), "test row", "was/were")
            progress.note(f"{fitted} fitted on by {former.path}: not compared on")
    truth = [cache.class_names[label] for label in cache.labels[split.test[rows]].tolist()]
    if not set(truth) & set(former.class_names):
        return None
    chosen = split.test[rows]
    views = choose_views("auto", former.views, cache)
    old = read_probabilities(former.model, cache, chosen, views, len(former.class_names))
    counts = dict(zip(cache.class_names, labelled_counts.tolist(), strict=True))
    counts |= dict(zip(former.class_names, former.labelled_counts, strict=True))
    classes = (former.class_names, cache.class_names)
    held = contest(classes, (old, probabilities[rows]), truth, [counts[name] for name in union_of(*classes)])
    return {
        "run": str(former.path),
        "common": held.figures(held.common),
        "whole": held.figures(held.truth >= 0),
        "per_class": held.per_class(),
    }


def check_encoder(former: Run, cache: FeatureCache) -> None:
    """Refuse a cache of another encoder than that of a former run.

    Raises:
        UlfineError: It is one.
    """
    mine, theirs = cache.attributes.get("weights_hash"), (former.cache or {}).get("weights_hash")
    if former.n_features != cache.n_features or (mine and theirs and mine != theirs):
        raise UlfineError(f"{cache.path} is of another encoder than the run {former.path}: fit without --from")
