"""The rows on which two models are compared, and what both answer."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress
from ulfine_cache.remote.places import may_be_there, place
from ulfine_cache.wording.counts import amount
from ulfine_fast.deciding.contest import Contest, contest, union_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_exports.predicting.predictors import Predictor


@dataclass(frozen=True)
class ContestRows:
    """A contest and where it was held.

    Attributes:
        contest: The answers.
        rows: int64 (N,), the rows of the cache.
        cache: The cache, with the labels that count.
        split: Name of the split; None for the cache's own sets.
        left_out: Test rows that were left out because a model was fitted on them.
        unknown: Test rows of a class that neither model has.
        models: Of old and new ``bytes`` and ``seconds``.
    """

    contest: Contest
    rows: "NDArray[np.int64]"
    cache: "FeatureCache"
    split: str | None
    left_out: int
    unknown: int
    models: dict[str, dict[str, float]]


def read_contest(
    old: Path, new: Path, cache: Path | None, split: str | None, apply: Path | None, progress: Progress
) -> ContestRows:
    """Open both models and let them answer; arguments as those of `ulfine_exports.diff.diff`.

    Raises:
        UlfineError: A model, the cache or the split cannot be used, or nothing is left to compare on.
    """
    from ulfine_exports.deciding.cache_answers import cache_answers
    from ulfine_exports.predicting.predictors import open_predictor

    predictors = [open_predictor(model, progress=progress) for model in (old, new)]
    names = [predictor.class_names for predictor in predictors]
    if not set(names[0]) & set(names[1]):
        raise UlfineError(f"{old} and {new} have no class in common: there is nothing to compare")
    opened, name = _opened(old, new, cache, split, apply, progress)
    test = opened.read_split(name).test
    where = f"split {name!r} of {opened.path}" if name else str(opened.path)
    if not len(test):
        raise UlfineError(f"{where} has no test rows: name a split that has some with --split")
    kept = _unknown_to_both(old, new, opened, test, progress)
    if not len(kept):
        raise UlfineError(f"the models were fitted on all test rows of {where}: name another --split or --cache")
    truth = np.array([*opened.class_names, ""], object)[opened.labels[kept]]
    judged = np.isin(truth, list(union_of(*names)))
    rows = kept[judged]
    unknown = int((~judged).sum())
    if unknown:
        progress.note(f"{amount(unknown, 'test row')} of {where}: of a class that neither model has, so left out")
    if not np.isin(truth, list(set(names[0]) & set(names[1]))).any():
        raise UlfineError(f"{where} has no test rows of a class that both models have")
    progress.note(f"comparing {old} and {new} on {amount(len(rows), 'test row')} of {where}")
    found, models = [], {}
    for side, model, predictor in zip(("old", "new"), (old, new), predictors, strict=True):
        started = time.perf_counter()
        found.append(cache_answers(predictor, opened, rows, str(model), progress))
        models[side] = {"bytes": _size(model), "seconds": round(time.perf_counter() - started, 4)}
    places = np.intersect1d(found[0].places, found[1].places)
    if len(places) < len(rows):
        progress.note(f"{amount(len(rows) - len(places), 'image')} cannot be read any more, and left out")
    tables = [answers.probabilities[np.searchsorted(answers.places, places)] for answers in found]
    known = [str(name) for name in truth[judged][places]]
    held = contest((names[0], names[1]), (tables[0], tables[1]), known, _labelled(predictors))
    return ContestRows(held, rows[places], opened, name, len(test) - len(kept), unknown, models)


def _opened(
    old: Path, new: Path, cache: Path | None, split: str | None, apply: Path | None, progress: Progress
) -> "tuple[FeatureCache, str | None]":
    """The cache with the labels that count, and the name of the split."""
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.labelling.decisions import read_decisions
    from ulfine_cache.labelling.relabelled import apply_labels
    from ulfine_fast.records.applied_labels import LABELS
    from ulfine_fast.run import load_run

    runs = [load_run(model) for model in (new, old) if model.is_dir()]
    homes = [run for run in runs if run.cache is not None]
    if cache is None:
        if not homes:
            raise UlfineError(f"{new} does not say where its cache is: name one with --cache")
        cache = place((homes[0].cache or {})["path"])
        if not may_be_there(cache):
            raise UlfineError(f"the cache {cache} of the run {homes[0].path} is gone: say where it is with --cache")
    opened = FeatureCache.open(cache)
    of = [run for run in homes if place((run.cache or {})["path"]).resolve() == opened.path.resolve()]
    made_with = of[0].path / LABELS if of else None
    if apply is None and made_with is not None and made_with.is_file():
        apply = made_with
    if apply is not None:
        opened = apply_labels(opened, read_decisions(apply, progress), progress=progress)
    if split is None:
        wanted = [(run.provenance.get("split") or {}).get("requested") for run in of]
        split = next((name for name in wanted[:1] if name in opened.split_names()), None)
    return opened, split


def _unknown_to_both(
    old: Path, new: Path, cache: "FeatureCache", test: "NDArray[np.int64]", progress: Progress
) -> "NDArray[np.int64]":
    """The test rows that neither model was fitted on."""
    from ulfine_exports.deciding.rows_known_to import rows_known_to

    kept = test
    for model in (old, new):
        known = rows_known_to(model, cache)
        if known is None:
            progress.note(
                f"{model} does not say which rows of {cache.path} it was fitted on: if there are test rows among them, "
                "it looks better than it is"
            )
            continue
        if seen := len(np.intersect1d(test, known)):
            progress.note(f"{model} was fitted on {amount(seen, 'test row')}, which are left out")
            kept = np.setdiff1d(kept, known)
    return kept


def _labelled(predictors: "list[Predictor]") -> list[int]:
    counts: dict[str, int] = {}
    for of in reversed(predictors):
        counts |= dict(zip(of.class_names, of.labelled_counts or [0] * len(of.class_names), strict=True))
    return [counts[name] for name in union_of(*(of.class_names for of in predictors))]


def _size(model: Path) -> int:
    from ulfine_fast.run import MODEL

    return (model / MODEL if model.is_dir() else model).stat().st_size
