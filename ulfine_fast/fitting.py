"""`ulfine fit`: from a cache to a run directory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt

from ulfine_cache.command import Place, Written, command, parameters_of
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.names.written import shown
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.wording.counts import amount, subject
from ulfine_fast.deciding.class_thresholds import AcceptBy
from ulfine_fast.judging.five_crops import Views
from ulfine_fast.registry import METHODS, found_method

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.deciding.gates import Gate
    from ulfine_fast.elsewhere.found_method import Origin
    from ulfine_fast.method import FitResult
    from ulfine_fast.rows.training_data import TrainingData
    from ulfine_fast.run import Run


@command
def fit(
    *,
    cache: Place,
    out: Path,
    split: str | None = None,
    apply: Path | None = None,
    from_: Path | None = None,
    method: Annotated[str, Written("|".join([*METHODS, "FILE.py:METHOD"]))] = "ulfine",
    settings: Path | None = None,
    set: Annotated[Sequence[str], Written("KEY=VALUE")] = (),
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0,
    seeds: Annotated[int, Ge(1), Le(1000)] = 1,
    device: Annotated[str, Written("auto|cpu|cuda|cuda:N")] = "auto",
    views: Views = "auto",
    text_only_classes: bool = False,
    reject_outliers: bool = False,
    memory: Annotated[str, Written("auto|SIZE")] = "auto",
    target_accuracy: Annotated[float, Gt(0), Lt(1)] | None = None,
    accept_by: AcceptBy = "all",
    outlier_score: bool = False,
    min: Annotated[Sequence[str], Written("FIGURE=VALUE")] = (),
    log: Literal["mlflow"] | None = None,
    overwrite: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> Run:
    """Train a classifier on cached features.

    The run that is written holds the model, its settings, its metrics on the test set and its predictions; it
    appears complete or not at all. The method sees the labelled images, the unlabelled ones without their truth, and
    the text features. Same arguments, same machine: the same bytes.

    Args:
        cache: Directory of the cache.
        out: Directory of the run.
        split: Named split; without it the cache's own labels and sets.
        apply: CSV file of decisions about labels (``path,label``; an empty label means unlabelled), such as
            `ulfine label` writes; the last line about an image counts, a new name is a new class. No feature is
            computed again, and the run keeps the decisions.
        from_: A former run: its method, settings, split, seed, views and decisions about labels are taken where nothing
            else is said, and the classes that both have are compared on the test images that it does not know.
        method: Name of the method: one of these, one of an installed package, or a file that holds one, which is run.
        settings: YAML file with settings of the method, or the ``config.yaml`` of a run.
        set: One setting of the method; may be repeated, and wins over `settings`.
        seed: Seed of everything random in the method.
        seeds: How many fits, with the seeds from `seed` on, for the spread; the run is the first.
        device: Where to train; ``auto`` takes a GPU if there is one.
        views: What is looked at in an image, here and later: ``center``; ``five-crop``, the mean of the logits of five
            crops; ``auto``, five crops where the cache has them.
        text_only_classes: Accept classes without labelled images, for their text alone.
        reject_outliers: Leave unlabelled images that belong to no class out of the pseudo-labels, as ``ulfine inspect
            --what outliers`` finds them.
        memory: Bound on the resident memory, such as ``4GB``; unlabelled rows that would break it are read from the
            disk block by block. ``auto``: half of what is free.
        target_accuracy: Learn, from labelled images that were left out, the confidence from which on so large a share
            of the answers is right, each class counting the same. `predict`, `serve` and the exported file then mark
            what is accepted.
        accept_by: With a target accuracy: ``all``, one threshold for all classes; ``class``, one of its own for each
            class that enough of the left-out images are taken for, and the one for all for the others.
        outlier_score: Learn how unlike every class an image may be: a score that is above 1 for what is stranger than
            95 % of the labelled images that were left out. `predict`, `serve` and the exported file then give it.
        min: A gate: the least value of a figure, such as ``macro_accuracy=0.9`` on test rows, or
            ``cross_validated.macro_accuracy=0.9`` on rows that were left out; may be repeated. The run is written in
            any case; where a gate does not hold, the command line ends with the exit code 1.
        log: Log the finished run, one run for each seed, to where MLflow's environment variables say
            (``MLFLOW_TRACKING_URI``, ``MLFLOW_EXPERIMENT_NAME``), or into ``mlflow.db``. Where that fails, the run is
            written all the same, and the command line ends with the exit code 1.
        overwrite: Replace the run that stands at `out`.
        progress: Told about the steps.

    Returns:
        The run. Figures: run, method, interrupted_at (the step, round or seed, where Ctrl-C ended the fit), seconds,
        pseudo_labels (`ulfine_fast.judging.pseudo_label_quality`), cross_validated
        (`ulfine_fast.judging.cross_validated`; null where a method leaves no labelled rows out), intervals and, where
        the cache knows groups, per_group (`ulfine_fast.judging.judge`), and those of
        `ulfine_fast.judging.metrics.evaluate_predictions`; with several seeds also seeds, their spread; with gates
        also gates, as `ulfine_fast.deciding.gates.judged_gates`; with a former run also against, as
        `ulfine_fast.deciding.former_run.against_former`; with a target accuracy also acceptance, as
        `ulfine_fast.deciding.acceptance.Acceptance.figures` (null where no threshold could be learnt) and, of test
        rows, ``test``, as `ulfine_fast.deciding.acceptance.accepted_figures`, and by_class, for each class, as
        `ulfine_fast.deciding.acceptance.promised_by_class` (and with thresholds by class as
        `ulfine_fast.deciding.acceptance.acceptance_figures`); with an outlier score outlier_score, as
        `ulfine_fast.deciding.learn_outlier_score.outlier_figures`; logged, if it is, as
        `ulfine_fast.records.mlflow_log.log_run`.

    Raises:
        UsageError: Unknown method, setting, device or gate, thresholds by class without a target accuracy, or `memory`
            is no size; see `ulfine_fast.rows.memory_bound`.
        UlfineError: The cache, the split or the target cannot be used; see `load_training_data` and
            `new_run_directory`.

    Example:
        >>> run = fit(cache=Path("photos-cache"), out=Path("runs/second"), split="lt")
        >>> run.metrics["macro_accuracy"] > 0.9
        True
    """
    from ulfine_cache.labelling.relabelled import note_judged, open_relabelled
    from ulfine_fast.deciding.former_run import check_encoder, taken_over
    from ulfine_fast.deciding.gates import read_gates
    from ulfine_fast.judging.five_crops import FIVE_CROPS, choose_views
    from ulfine_fast.processes.group import any_of, check_shared, is_joined, rank
    from ulfine_fast.records.mlflow_log import Fitted, check_mlflow, log_run
    from ulfine_fast.rows.memory_bound import memory_bound
    from ulfine_fast.rows.training_data import load_training_data
    from ulfine_fast.run import load_run, new_run_directory
    from ulfine_fast.settings import resolve_settings, resolved_config
    from ulfine_fast.streaming_choice import must_stream, note_streaming
    from ulfine_fast.training import choose_device, train_seeds

    if log is not None:
        check_mlflow()
    gates = read_gates(min)
    if accept_by == "class" and target_accuracy is None:
        raise UsageError("--accept-by class is about the threshold for --target-accuracy: give that as well")
    former = None
    if from_ is not None:
        former = load_run(from_)
        given = {"method": method, "settings": settings, "split": split, "seed": seed, "views": views, "apply": apply}
        own = parameters_of(fit)
        given = taken_over(former, given, {name: own[name].default for name in given})
        method, settings, split, seed, views, apply = given.values()
    chosen, origin = found_method(method)
    check_shared(chosen)
    values = resolve_settings(chosen, file=settings, assignments=set)
    used_device = choose_device("cpu" if device == "auto" and is_joined() else device)
    bound = memory_bound(memory)
    opened = open_relabelled(cache, apply, text=True, progress=progress)
    if former is not None:
        check_encoder(former, opened)
    rows = opened.read_split(split)
    note_judged(opened, rows, progress)
    used_views = choose_views(views, FIVE_CROPS, opened)
    first = rank() == 0
    with new_run_directory(out, overwrite=overwrite) if first else nullcontext(Path()) as folder:
        # Free memory is not the same at any two moments, and rows on the disk are drawn in another order.
        streams = any_of(must_stream(opened, rows, used_device, bound))
        data = load_training_data(opened, rows, used_device, streams=streams)
        if not text_only_classes:
            _check_every_class_is_labelled(data, cache)
        progress.note(
            f"fitting {chosen.name} on {used_device}: {len(rows.labelled)} labelled and "
            f"{amount(len(rows.unlabelled), 'unlabelled row')}, {amount(data.n_classes, 'class')}"
        )
        if not len(rows.test):
            progress.note(
                "no test rows, so nothing will be measured on a test set: add test/ to the images or draw a split"
            )
        _tell_shared_groups(opened, rows, progress)
        if streams:
            note_streaming(data, bound, progress)
        _note_leaks(opened, rows, progress)
        rejected: int | None = None
        if reject_outliers and len(rows.unlabelled):
            from ulfine_fast.inspecting.rejecting import kept_rows

            kept = kept_rows(data, rows.unlabelled, seed, progress)
            rejected = len(rows.unlabelled) - len(kept)
            data = load_training_data(opened, replace(rows, unlabelled=kept), used_device, streams=streams)
        start = time.perf_counter()
        every_seed = [seed + number for number in range(seeds)]
        results = train_seeds(chosen, values, data, every_seed, progress, keep_interrupted=True)
        seconds = time.perf_counter() - start
        if not first:
            raise SystemExit(0)  # the first process judges and writes
        resolved = {
            **resolved_config(chosen, values),
            "seed": seed,
            "split": split,
            "device": used_device,
            "views": used_views,
        }
        if rejected is not None:
            resolved["rejected_outliers"] = rejected
        wanted = _Wanted(gates, target_accuracy, accept_by, outlier_score, former, progress)
        run, others = _write(folder, out, opened, rows, data, results, resolved, seconds, origin, wanted)
    if log is None:
        return run
    progress.note("logging to MLflow")
    figures = [run.metrics, *others]
    every = [Fitted(seed + n, figures[n], result.history) for n, result in enumerate(results)]
    return replace(run, metrics={**run.metrics, "logged": log_run(run, every)})


def _note_leaks(cache: FeatureCache, split: Split, progress: Progress) -> None:
    from ulfine_fast.inspecting.duplicates import leaking_rows

    leaking = leaking_rows(cache, split)
    if len(leaking):
        first = cache.paths_of(leaking[:1])[0]
        progress.note(
            f"{subject(len(leaking), 'test image', 'is/are')} also among the training images ({shown(first)}"
            f"{', ...' if len(leaking) > 1 else ''}), so the test looks better than it is: `ulfine inspect --what "
            "duplicates` names them"
        )


def _check_every_class_is_labelled(data: TrainingData, cache: Path) -> None:
    missing = [name for name, n in zip(data.class_names, data.labelled_counts.tolist(), strict=True) if not n]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UlfineError(
            f"class {missing[0]!r}{more} has no labelled rows in {cache}: label at least one image of it, remove the "
            "class, or pass --text-only-classes to rely on its text alone"
        )


def _tell_shared_groups(cache: FeatureCache, split: Split, progress: Progress) -> None:
    """Say that test rows look easier than the next camera, site or batch will be."""
    if cache.groups is None or not len(split.test):
        return
    fitted = {cache.groups[row] for row in split.labelled.tolist()} - {""}
    shared = sum(cache.groups[row] in fitted for row in split.test.tolist())
    if shared:
        progress.note(
            f"{shared} of {amount(len(split.test), 'test row')} have a group (camera, site, batch) in common with "
            "labelled rows, and look better than rows of a new one would: `ulfine split --by-group` keeps them apart"
        )


@dataclass(frozen=True)
class _Wanted:
    """What is asked of a fit beside the model."""

    gates: list[Gate]
    target_accuracy: float | None
    accept_by: AcceptBy
    outlier_score: bool
    former: Run | None
    progress: Progress


def _write(
    folder: Path,
    out: Path,
    cache: FeatureCache,
    split: Split,
    data: TrainingData,
    results: list[FitResult],
    resolved: dict[str, Any],
    seconds: float,
    origin: Origin | None,
    wanted: _Wanted,
) -> tuple[Run, list[dict[str, Any]]]:
    """Write the run; it and the figures of the seeds after the first."""
    from ulfine_fast.deciding.acceptance import acceptance_figures
    from ulfine_fast.deciding.former_run import against_former
    from ulfine_fast.deciding.gates import judged_gates
    from ulfine_fast.deciding.learn_outlier_score import outlier_figures
    from ulfine_fast.judging.judge import judge, read_logits, read_probabilities
    from ulfine_fast.judging.left_out_figures import left_out_figures
    from ulfine_fast.judging.metrics import SCALARS
    from ulfine_fast.judging.outlier_score import outlier_scores
    from ulfine_fast.judging.spread import spread_with_test_error
    from ulfine_fast.records.applied_labels import describe_applied, write_applied
    from ulfine_fast.records.class_table import write_class_table
    from ulfine_fast.records.history import write_history_csv, write_tensorboard
    from ulfine_fast.records.predictions import write_predictions
    from ulfine_fast.records.provenance import describe_cache, describe_split, stamp
    from ulfine_fast.records.reference_rows import write_reference
    from ulfine_fast.records.rows_fitted_on import write_labelled, write_unlabelled
    from ulfine_fast.run import CROSS_VALIDATED, HISTORY, PER_CLASS, PREDICTIONS, Run, write_run

    counts = data.labelled_counts.cpu().numpy()
    threshold = resolved["settings"].get("threshold")
    threshold = threshold if isinstance(threshold, float) else None
    result = results[0]
    judged = judge(result.model, cache, split, counts, threshold=threshold, views=resolved["views"])
    seeds: dict[str, Any] = {}
    others: list[dict[str, Any]] = []
    if len(results) > 1:
        # The truth of unlabelled rows is the first seed's affair.
        tested = replace(split, unlabelled=split.unlabelled[:0])
        others = [judge(other.model, cache, tested, counts, views=resolved["views"]).metrics for other in results[1:]]
        seeds["seeds"] = {name: spread_with_test_error(name, [judged.metrics, *others]) for name in SCALARS}
    figures, left_out, left_out_probabilities = left_out_figures(result, data)
    metrics = {**judged.metrics, "cross_validated": figures, **seeds}
    if wanted.former is not None:
        metrics["against"] = against_former(wanted.former, cache, split, judged.probabilities, counts, wanted.progress)
    if wanted.target_accuracy is not None:
        labels = data.labels.cpu().numpy()[left_out]
        metrics["acceptance"] = acceptance_figures(
            (left_out_probabilities, labels),
            (judged.probabilities, cache.labels[split.test]),
            counts,
            wanted.target_accuracy,
            wanted.accept_by,
        )
    if wanted.outlier_score:
        metrics["outlier_score"] = result.left_out and outlier_figures(
            (result.left_out.energies(), data.labels.cpu().numpy()[left_out]),
            counts,
            read_logits(result.model, cache, split.test, resolved["views"]),
        )
    run = Run(
        path=out,
        model=result.model,
        method=resolved["method"],
        config=resolved,
        class_names=data.class_names,
        labelled_counts=tuple(int(count) for count in counts),
        n_features=data.n_features,
        metrics={**metrics, **judged_gates(wanted.gates, metrics), "seconds": round(seconds, 4)},
        provenance={
            "cache": describe_cache(cache),
            "split": {**describe_split(split), "requested": resolved["split"]},
            **describe_applied(cache),
            "seed": resolved["seed"],
            "seeds": len(results),
            "interrupted": result.interrupted_at is not None,
            "interrupted_at": result.interrupted_at,
            "device": resolved["device"],
            **({} if wanted.former is None else {"from": str(wanted.former.path)}),
            "diagnostics": result.diagnostics,
            **({} if origin is None else {"method": asdict(origin)}),
            **stamp(),
            "seconds": round(seconds, 4),
        },
    )
    write_run(folder, run)
    write_applied(folder, cache)
    write_history_csv(folder / HISTORY, result.history)
    final = {name: run.metrics[name] for name in SCALARS if run.metrics[name] is not None}
    write_tensorboard(folder, result.history, final)
    if len(split.test):
        paths = cache.paths_of(split.test)
        write_predictions(
            folder / PREDICTIONS, paths=paths, probabilities=judged.probabilities, class_names=data.class_names
        )
    if len(left_out):
        paths = cache.paths_of(split.labelled[left_out])
        write_predictions(
            folder / CROSS_VALIDATED,
            paths=paths,
            probabilities=left_out_probabilities,
            class_names=data.class_names,
        )
    write_class_table(folder / PER_CLASS, run.metrics)
    write_labelled(folder, cache, split)
    write_reference(folder, cache, split)
    scale = run.outlier_scale

    def scores_of(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        assert scale is not None
        return outlier_scores(read_logits(result.model, cache, rows, resolved["views"]), scale)

    write_unlabelled(
        folder,
        cache,
        split,
        lambda rows: read_probabilities(result.model, cache, rows, resolved["views"]),
        run.class_thresholds or run.threshold,
        None if scale is None else scores_of,
    )
    return run, others
