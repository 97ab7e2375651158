"""`ulfine fit`: from a cache to a run directory."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_fast.judging.five_crops import Views

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.method import FitResult
    from ulfine_fast.rows.training_data import TrainingData
    from ulfine_fast.run import Run


class FitConfig(StrictConfig):
    """The parameters of `fit`."""

    cache: Path
    out: Path
    split: str | None = None
    method: str = "ulfine"
    config: Path | None = None
    set: list[str] = Field(default=[])
    seed: int = Field(default=0, ge=0, lt=2**32)
    seeds: int = Field(default=1, ge=1, le=1000)
    device: str = "auto"
    views: Views = "auto"
    text_only_classes: bool = False
    memory: str = "auto"
    overwrite: bool = False


def fit(
    *,
    cache: Path,
    out: Path,
    split: str | None = None,
    method: str = "ulfine",
    config: Path | None = None,
    set: list[str] = [],  # noqa: B006
    seed: int = 0,
    seeds: int = 1,
    device: str = "auto",
    views: Views = "auto",
    text_only_classes: bool = False,
    memory: str = "auto",
    overwrite: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> Run:
    """Fit a method on a split of a cache and write a run.

    The method sees the labelled rows, the unlabelled rows without their truth, and the text features; test rows and the
    truth are read after it has ended. The run directory appears complete or not at all. Same arguments, same machine:
    the same bytes in ``model.safetensors``, ``config.yaml``, ``history.csv`` and ``predictions.csv``.

    Args:
        cache: A cache directory.
        out: The run directory to make.
        split: Name of a split; None takes the sets that the cache came with.
        method: One of `ulfine_fast.registry.METHODS`.
        config: YAML file with settings of the method, or the ``config.yaml`` of a run.
        set: ``"key=value"`` settings, which win over `config`.
        seed: Of everything random in the method.
        seeds: How many fits, with the seeds from `seed` on, trained side by side where the method is trained by
            gradient. The run is the first; the metrics then hold the spread over all of them, ``seeds``.
        device: Where to train, see `choose_device`; ``"auto"`` takes a GPU if there is one.
        views: What is looked at in an image when it is classified, here and later: ``"center"``, the first view of the
            cache; ``"five-crop"``, the mean of the logits of five crops; ``"auto"``: five crops where the cache has
            them.
        text_only_classes: Accept classes without a labelled row, which then live on their text prototype alone.
        memory: Bound on the resident memory of the process, such as ``"4GB"``. Unlabelled rows that would break it stay
            on the disk and are read block by block; labelled rows are always loaded and count. ``"auto"``: half of
            what is free beyond what the process has, see `ulfine_fast.rows.memory_bound`.
        overwrite: Replace the run that stands at `out`.
        progress: Told about the steps.

    Returns:
        The run; `Run.figures` are its figures.

    Raises:
        UsageError: Unknown method, setting or device, or `memory` is no size.
        UlfineError: The cache, the split or the target cannot be used; see `load_training_data` and
            `new_run_directory`.

    Example:
        >>> run = fit(cache=Path("photos-cache"), out=Path("runs/second"), split="lt")
        >>> run.metrics["macro_accuracy"] > 0.9
        True
    """
    options = FitConfig.checked(
        cache=cache,
        out=out,
        split=split,
        method=method,
        config=config,
        set=set,
        seed=seed,
        seeds=seeds,
        device=device,
        views=views,
        text_only_classes=text_only_classes,
        memory=memory,
        overwrite=overwrite,
    )
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.judging.five_crops import FIVE_CROPS, choose_views
    from ulfine_fast.registry import get_method
    from ulfine_fast.rows.memory_bound import memory_bound
    from ulfine_fast.rows.training_data import load_training_data
    from ulfine_fast.run import new_run_directory
    from ulfine_fast.settings import resolve_settings
    from ulfine_fast.streaming_choice import must_stream, note_streaming
    from ulfine_fast.training import choose_device, train_seeds

    chosen = get_method(options.method)
    settings = resolve_settings(chosen, file=options.config, assignments=options.set)
    used_device = choose_device(options.device)
    bound = memory_bound(options.memory)
    opened = FeatureCache.open(options.cache)
    rows = opened.read_split(options.split)
    used_views = choose_views(options.views, FIVE_CROPS, opened)
    with new_run_directory(options.out, overwrite=options.overwrite) as folder:
        streams = must_stream(opened, rows, used_device, bound)
        data = load_training_data(opened, rows, used_device, streams=streams)
        if not options.text_only_classes:
            _check_every_class_is_labelled(data, options.cache)
        progress.note(
            f"fitting {chosen.name} on {used_device}: {len(rows.labelled)} labelled and "
            f"{len(rows.unlabelled)} unlabelled rows, {data.n_classes} classes"
        )
        if not len(rows.test):
            progress.note("no test rows, so nothing will be measured: add test/ to the images or draw a split")
        if streams and bound is not None:
            note_streaming(data, bound, progress)
        start = time.perf_counter()
        every_seed = [options.seed + number for number in range(options.seeds)]
        results = train_seeds(chosen, settings, data, every_seed, progress, keep_interrupted=True)
        seconds = time.perf_counter() - start
        resolved = {
            "method": chosen.name,
            "seed": options.seed,
            "split": options.split,
            "device": used_device,
            "views": used_views,
            "settings": settings.model_dump(mode="json"),
        }
        return _write(folder, options.out, opened, rows, data, results, resolved, seconds)


def _check_every_class_is_labelled(data: TrainingData, cache: Path) -> None:
    missing = [name for name, n in zip(data.class_names, data.labelled_counts.tolist(), strict=True) if not n]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UlfineError(
            f"class {missing[0]!r}{more} has no labelled rows in {cache}: label at least one image of it, remove the "
            "class, or pass --text-only-classes to rely on its text alone"
        )


def _write(
    folder: Path,
    out: Path,
    cache: FeatureCache,
    split: Split,
    data: TrainingData,
    results: list[FitResult],
    resolved: dict[str, Any],
    seconds: float,
) -> Run:
    from ulfine_fast.judging.judge import judge
    from ulfine_fast.judging.metrics import SCALARS
    from ulfine_fast.judging.spread import spread
    from ulfine_fast.records.history import write_history_csv, write_tensorboard
    from ulfine_fast.records.predictions import write_predictions
    from ulfine_fast.records.provenance import describe_cache, describe_split, stamp
    from ulfine_fast.run import HISTORY, PREDICTIONS, Run, write_run

    counts = data.labelled_counts.cpu().numpy()
    threshold = resolved["settings"].get("threshold")
    threshold = threshold if isinstance(threshold, float) else None
    result = results[0]
    judged = judge(result.model, cache, split, counts, threshold=threshold, views=resolved["views"])
    seeds: dict[str, Any] = {}
    if len(results) > 1:
        # The truth of unlabelled rows is the first seed's affair.
        tested = replace(split, unlabelled=split.unlabelled[:0])
        others = [judge(other.model, cache, tested, counts, views=resolved["views"]).metrics for other in results[1:]]
        seeds["seeds"] = {name: spread([of[name] for of in (judged.metrics, *others)]) for name in SCALARS}
    run = Run(
        path=out,
        model=result.model,
        method=resolved["method"],
        config=resolved,
        class_names=data.class_names,
        labelled_counts=tuple(int(count) for count in counts),
        n_features=data.n_features,
        metrics={**judged.metrics, **seeds, "seconds": round(seconds, 4)},
        provenance={
            "cache": describe_cache(cache),
            "split": {**describe_split(split), "requested": resolved["split"]},
            "seed": resolved["seed"],
            "seeds": len(results),
            "interrupted": result.interrupted_at is not None,
            "interrupted_at": result.interrupted_at,
            "device": resolved["device"],
            "diagnostics": result.diagnostics,
            **stamp(),
            "seconds": round(seconds, 4),
        },
    )
    write_run(folder, run)
    write_history_csv(folder / HISTORY, result.history)
    final = {name: run.metrics[name] for name in SCALARS if run.metrics[name] is not None}
    write_tensorboard(folder, result.history, final)
    if len(split.test):
        paths = cache.paths_of(split.test)
        write_predictions(
            folder / PREDICTIONS, paths=paths, probabilities=judged.probabilities, class_names=data.class_names
        )
    return run
