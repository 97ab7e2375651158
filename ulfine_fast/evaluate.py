"""`ulfine evaluate`: the figures of a run, computed again, on its own cache or another of the same model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ulfine_cache.command import Place, Written, command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.remote.places import may_be_there, place
from ulfine_cache.wording.counts import amount
from ulfine_fast.priors.test_prior import TestPriorOption

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.run import Run

ENCODER_KEYS = ("model", "pretrained", "weights_hash", "preprocess")
"""Attributes of a cache that say which numbers its features are; two caches that agree here can share a classifier."""


@command
def evaluate(
    *,
    run: Path,
    cache: Place | None = None,
    split: str | None = None,
    apply: Path | None = None,
    test_prior: TestPriorOption | None = None,
    by_group: bool = False,
    min: Annotated[Sequence[str], Written("FIGURE=VALUE")] = (),
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Measure a run on a test set.

    Macro accuracy is best under a uniform test prior; others serve accuracy where classes are as frequent as they say.
    The run itself stays as it is.

    Args:
        run: Directory of the run.
        cache: Another cache than the one the run was fitted on.
        split: Another split than the one the run was fitted on.
        apply: CSV file of decisions about labels, as of ``fit``: those about test images correct the truth. Without it
            those that the run was fitted with count.
        test_prior: Class distribution to decide for: ``uniform``; ``labelled``, that of the labelled rows;
            ``estimate``, from the test rows without their labels (transductive); or a CSV file of class,weight.
            Without it: as fitted.
        by_group: Show the accuracy of each group of test rows (camera, site, batch); the cache must know them.
        min: A gate: the least value of a figure, such as ``macro_accuracy=0.9`` or, of the run's left-out rows,
            ``cross_validated.macro_accuracy=0.9``; may be repeated. Where one does not hold, the command line ends with
            the exit code 1.
        progress: Told about what is judged.

    Returns:
        Figures: ``run``, ``method``, ``cache``, ``split``; under a test prior its name as ``test_prior`` and the share
        of every class as ``class_prior``; the figures of `ulfine_fast.judging.metrics.evaluate_predictions`;
        ``intervals``, ``pseudo_labels`` and, where the cache knows groups, ``per_group``
        (`ulfine_fast.judging.judge.Judgement`); ``by_group`` where it was asked for; with gates ``gates``, as
        `ulfine_fast.deciding.gates.judged_gates`; of a run with a threshold ``acceptance``, as of ``fit``; and
        ``seconds`` (of this evaluation).

    Raises:
        UsageError: `test_prior` is neither a word nor a file, or a gate names no figure.
        UlfineError: The cache is gone, is of another model, or has other classes; there are no test rows, or some of
            them were used to fit the run; the file of weights or of decisions does not fit.

    Example:
        >>> evaluate(run=Path("runs/first"), cache=Path("photos-cache"))["macro_accuracy"] > 0.9
        True
    """
    import numpy as np

    from ulfine_cache.labelling.relabelled import note_judged
    from ulfine_fast.deciding.acceptance import accepted_figures
    from ulfine_fast.deciding.gates import judged_gates, read_gates
    from ulfine_fast.judging.five_crops import choose_views
    from ulfine_fast.judging.judge import judge, read_logits
    from ulfine_fast.priors.class_prior import MAX_ROWS, prior_figures, prior_shift
    from ulfine_fast.priors.test_prior import read_test_prior
    from ulfine_fast.rows.sample_places import sample_places
    from ulfine_fast.run import load_run

    start = time.perf_counter()
    gates = read_gates(min)
    loaded = load_run(run)
    wanted = None
    if test_prior is not None:
        wanted = read_test_prior(test_prior, loaded.class_names, loaded.labelled_counts)
    opened = open_cache_of(loaded, cache, apply, progress)
    if by_group and opened.groups is None:
        raise UlfineError(
            f"{opened.path} knows no groups: name their column with `ulfine cache-features --group-column`, or leave "
            "out --by-group"
        )
    name = split
    if name is None:
        own = (loaded.provenance.get("split") or {}).get("requested")
        name = own if own in opened.split_names() else None
    rows = opened.read_split(name)
    _check_test_rows(loaded, opened, rows)
    note_judged(opened, rows, progress)
    if grown_since(loaded, opened):
        progress.note(
            f"{opened.path} has changed since {loaded.path} was fitted: images that it was fitted on may be among the "
            "test rows now, and it would look better than it is; fit again"
        )
    progress.note(f"judging {loaded.path} on {amount(len(rows.test), 'test row')} of {opened.path}")
    threshold = loaded.config["settings"].get("threshold")
    views = choose_views("auto", loaded.views, opened)
    shift, under = None, {}
    if wanted is not None:
        answered = loaded.answered_prior()
        sample = rows.test[sample_places(len(rows.test), MAX_ROWS)]
        prior = wanted.settled(
            lambda: read_logits(loaded.model, opened, sample, views), answered, "test rows", progress
        )
        shift = prior_shift(prior, answered)
        under = prior_figures(wanted.name, prior, loaded.class_names)
    judged = judge(
        loaded.model,
        opened,
        rows,
        np.asarray(loaded.labelled_counts),
        threshold=threshold if isinstance(threshold, float) else None,
        views=views,
        test_shift=shift,
    )
    accepted: dict[str, Any] = {}
    if loaded.threshold is not None and wanted is None:
        thresholds = loaded.class_thresholds or loaded.threshold
        found = accepted_figures(judged.probabilities, opened.labels[rows.test], thresholds)
        accepted = {"acceptance": {**loaded.metrics["acceptance"], "test": found}}
    return {
        "run": str(loaded.path),
        "method": loaded.method,
        "cache": str(opened.path),
        "split": name,
        **under,
        **judged.metrics,
        **({"by_group": True} if by_group else {}),
        **accepted,
        **judged_gates(gates, judged.metrics | {"cross_validated": loaded.metrics.get("cross_validated")}),
        "seconds": round(time.perf_counter() - start, 4),
    }


def _check_test_rows(run: Run, cache: FeatureCache, split: Split) -> None:
    import numpy as np

    where = f"split {split.name!r} of {cache.path}" if split.name else str(cache.path)
    if not len(split.test):
        raise UlfineError(f"{where} has no test rows: name a split that has some with --split")
    fitted = fitted_split(run, cache)
    if fitted is None:
        return
    seen = np.intersect1d(split.test, np.concatenate([fitted.labelled, fitted.unlabelled]))
    if len(seen):
        raise UlfineError(
            f"the run {run.path} was fitted on {len(seen)} of the {amount(len(split.test), 'test row')} of {where} "
            "and would "
            "look better than it is: take the split it was fitted on, or one of the same --seed and --test-per-class"
        )


def grown_since(run: Run, cache: FeatureCache) -> bool:
    """Say whether a cache is the one that a run was fitted on, with other rows in it by now."""
    made = run.cache
    same_place = made is not None and place(made["path"]).resolve() == cache.path.resolve()
    return made is not None and same_place and made["fingerprint"] != cache.fingerprint


def fitted_split(run: Run, cache: FeatureCache) -> Split | None:
    """The rows that a run was fitted on, drawn again: the split of that name may hold others by now.

    None where nobody can say: the cache is another one, or the split was not drawn by the protocol.
    """
    from ulfine_cache.feature_cache import APPLIED
    from ulfine_cache.labelling.relabelled import RelabelledCache
    from ulfine_cache.splitting.split_draw import draw_split
    from ulfine_fast.records.applied_labels import with_labels_of

    made = run.provenance.get("split") or {}
    if run.cache is None or run.cache["fingerprint"] != cache.fingerprint:
        return None
    plain = cache.original if isinstance(cache, RelabelledCache) else cache
    own = with_labels_of(run, plain)
    if made.get("requested") is None:
        return own.read_split(None)
    # A split without these was not drawn by the protocol.
    if "drawn" not in made["protocol"]:
        return None
    known = own if APPLIED in made["protocol"] else plain
    drawn = draw_split(
        known.labels, known.set_names, made["protocol"], class_names=known.class_names, groups=known.groups
    )
    return own.changed(drawn) if isinstance(own, RelabelledCache) and known is plain else drawn


def open_cache_of(
    run: Run,
    cache: Path | None = None,
    apply: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> FeatureCache:
    """Open the cache that a run was fitted on, or another one that fits it.

    Args:
        run: A loaded run.
        cache: A cache directory; None takes the path that the run remembers.
        apply: Decisions about its labels; None takes those that the run was fitted with.
        progress: Told what `apply` changes.

    Raises:
        UlfineError: The remembered cache is gone or the run never had one; the cache is of another model,
            preprocessing, feature width or set of classes, in words that say which.
    """
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.records.applied_labels import with_labels_of

    remembered = run.cache
    if cache is None:
        if remembered is None:
            raise UlfineError(f"the run {run.path} was not fitted on a cache: name one with --cache")
        cache = place(remembered["path"])
        if not may_be_there(cache):
            raise UlfineError(f"the cache {cache} of the run {run.path} is gone: say where it is now with --cache")
    opened = FeatureCache.open(cache)
    if opened.n_features != run.n_features:
        raise UlfineError(
            f"{cache} is a cache of another model: its features are {opened.n_features} wide, "
            f"the run {run.path} takes {run.n_features}"
        )
    for key in ENCODER_KEYS if remembered is not None else ():
        ours, theirs = (remembered or {}).get(key), opened.attributes.get(key)
        if ours != theirs:
            raise UlfineError(
                f"{cache} is a cache of another model: its {key} is {theirs or 'unknown'}, "
                f"the run {run.path} was fitted on {ours or 'unknown'}"
            )
    opened = with_labels_of(run, opened, apply, progress)
    if tuple(opened.class_names) != run.class_names:
        differing = sorted(set(opened.class_names) ^ set(run.class_names))
        detail = f"{differing[0]!r} is in one only" if differing else "their order differs"
        raise UlfineError(f"{cache} has other classes than the run {run.path}: {detail}")
    return opened
