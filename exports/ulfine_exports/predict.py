"""`ulfine predict`: classes of new images, or of features, by a run or by an exported file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Le

from ulfine_cache.command import Written, command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.wording.counts import amount
from ulfine_exports.predicting.part_place import is_for_parts
from ulfine_exports.predicting.predictions import Predictions
from ulfine_fast.judging.five_crops import Views
from ulfine_fast.priors.test_prior import TestPriorOption

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ulfine_exports.inference.exported_file import Answers
    from ulfine_exports.predicting.predictors import Predictor

BATCH = 32
"""Images decoded and classified at a time: what bounds the memory."""


@command
def predict(
    *,
    model: Path,
    inputs: Sequence[Path],
    views: Views = "auto",
    test_prior: TestPriorOption | None = None,
    timeout: Annotated[float, Gt(0), Le(86_400)] = 600.0,
    out: Path | None = None,
    part_size: Annotated[int, Ge(1)] = 4096,
    batch_size: Annotated[int, Ge(1)] = BATCH,
    workers: Annotated[int, Ge(1)] | None = None,
    path_column: str | None = None,
    root: Path | None = None,
    extension: str | None = None,
    engine: Literal["local", "ray"] = "local",
    address: Annotated[str, Written("auto|HOST:PORT")] | None = None,
    gpus_per_worker: Annotated[float, Ge(0), Le(1)] | None = None,
    cpus_per_worker: Annotated[int, Ge(1)] | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> Predictions:
    """Classify images with a run or an exported file.

    A run takes images (with the encoder of its cache) and features; an exported file takes images or features, as it
    was written, and is run by onnxruntime, without torch. Images that cannot be read are named and do not end the job;
    the command line then ends with the exit code 1.

    For many images `out` is a folder, and the input one source as stage one takes it: a folder, a table, a ``.zip``
    file or ``.tar`` files, see docs/sources.md. The same columns then go to ``part-00000.parquet`` and on, images that
    cannot be read to ``skipped.csv``, and memory stays bounded. An interrupted job goes on with the same command, and
    ends with the same bytes.

    Args:
        model: Directory of a run, or an exported ``.onnx`` file.
        inputs: Images, or folders of images with all their subfolders; or features: a cache, or an ``.npz`` file with
            an array features and, if wanted, paths. Not both kinds at once.
        views: What a run looks at: ``center``; ``five-crop``, the mean of the logits of five crops; ``auto``, as it was
            fitted. An exported file has its views inside.
        test_prior: Class distribution to decide for: ``uniform``; ``labelled``, that of the labelled rows;
            ``estimate``, from these inputs; or a CSV file of class,weight. Without it: as the model is.
        timeout: Seconds that an exported file may take for one batch, 32 images or 8,192 rows of features: one that
            loops for ever is ended.
        out: Write all probabilities to this ``.csv`` file, or with the extra parquet to a ``.parquet`` file or, where
            the name has no ending, to a folder of Parquet parts.
        part_size: Images in one part, the unit of going on.
        batch_size: Images that are classified together, for parts.
        workers: Threads that read and decode images for parts; without it one per core, at most 16.
        path_column: Column of a table that names the images (or holds them), for parts; found where it is called as
            usual.
        root: Folder that the paths of a table are relative to, for parts; without it the table's own.
        extension: What is missing at the end of the paths of a table, such as ``.jpg``, for parts.
        engine: Where parts are made: in this process, or by workers of a Ray cluster
            (``pip install 'ulfine-fast[ray]'``). The parts are the same, byte for byte. See docs/scale.md.
        address: With ``ray``: the cluster to join, ``auto`` for one that runs on this machine; without it Ray is
            started on this machine, for this call.
        gpus_per_worker: With ``ray``: GPUs that each worker holds, less than 1 to share one; without it 1 where the
            cluster has GPUs.
        cpus_per_worker: With ``ray``: cores that each worker holds; without it as many as there are for each GPU, or
            all of the smallest machine, at most 8.
        progress: Told about the images.

    Returns:
        The predictions, in the order of the inputs. Figures: model, device, predictions (list of {"path", "label",
        "confidence"}, with "accepted" where the model has a threshold, which then is threshold, and accepted their
        number, and class_thresholds, name to threshold, where classes have their own; and with "outlier_score" where
        the model has one, of which outliers is the number above 1), unreadable (list of {"path", "reason"}), out,
        seconds; under a test prior its name as test_prior and class_prior, name to share. For parts there are instead
        of predictions and unreadable: images, predicted, skipped, parts, parts_kept (there before) and
        images_per_second (of this call).

    Raises:
        UsageError: `out` has another suffix or is no folder where `engine` or another option needs one, there are no
            inputs or several for parts, the views are unknown or not for this model, or `test_prior` is neither a word
            nor a file.
        UlfineError: The model or an input cannot be used, the file of weights does not fit, the exported file does not
            record its prior, or `out` cannot be written or holds parts that were made in another way.

    Example:
        >>> found = predict(model=Path("model.onnx"), inputs=[Path("photos/seven")], out=Path("predictions.csv"))
        >>> found.labels[:2]
        ['seven', 'seven']
    """
    import numpy as np

    from ulfine_cache.encoding.engines.engine_options import check_engine_options
    from ulfine_exports.predicting.feature_inputs import feature_blocks, is_features
    from ulfine_exports.predicting.predictors import open_predictor
    from ulfine_exports.predicting.to_folder import predict_to_folder
    from ulfine_fast.records.predictions import check_predictions_path, write_predictions

    started = time.perf_counter()
    makes_parts = {
        "engine": engine,
        "address": address,
        "gpus_per_worker": gpus_per_worker,
        "cpus_per_worker": cpus_per_worker,
    }
    check_engine_options(makes_parts)
    for_parts = {"path-column": path_column, "root": root, "extension": extension}
    if out is not None and is_for_parts(out):
        options = SourceOptions(path_column=path_column, root=root, extension=extension)
        sizes = {"part_size": part_size, "batch_size": batch_size}
        return predict_to_folder(
            model,
            inputs,
            out,
            options,
            views=views,
            test_prior=test_prior,
            timeout=timeout,
            **sizes,
            workers=workers,
            engine=makes_parts,
            progress=progress,
        )
    if engine != "local":
        raise UsageError(f"--engine {engine} is for predictions that go to a folder: --out DIR")
    if given := [name for name, value in for_parts.items() if value is not None]:
        raise UsageError(f"--{given[0]} is for a table whose predictions go to a folder: --out DIR")
    if out is not None:
        check_predictions_path(out)
    missing = _missing(inputs)
    features = [path for path in inputs if is_features(path)]
    if features and len(features) < len(inputs):
        other = next(path for path in inputs if path not in features)
        raise UlfineError(f"{features[0]} holds features and {other} images: predict them one after the other")
    if not missing:
        progress.note(f"loading {model}")
    predictor = open_predictor(model, views, timeout, progress)
    wanted = answered = prior = None
    if test_prior is not None:
        from ulfine_fast.priors.test_prior import read_test_prior

        answered = predictor.answered_prior()
        wanted = read_test_prior(test_prior, predictor.class_names, predictor.labelled_counts)
    # What is wrong with the model or the prior is told first; a run's encoder is loaded with the first image.
    if missing:
        raise UlfineError(missing)
    progress.note(f"{model} runs on {predictor.device}")
    found = _Found(with_logits=wanted is not None)
    if features:
        for path in features:
            strict = views != "auto"
            blocks = feature_blocks(path, predictor.weights_hash, predictor.views, strict=strict)
            for number, (names, rows) in enumerate(blocks):
                if not number and rows.ndim == 2 and predictor.views != "center":
                    progress.note(f"{path} holds no five crops, so {model} looks at its first view alone")
                found.add(names, predictor.features(rows))
                progress.update("predicting", len(found.paths), None)
    else:
        _classify_images(inputs, predictor, found, progress)
    values = np.concatenate([np.zeros((0, len(predictor.class_names)), np.float32), *found.values])
    probabilities = values
    if wanted is not None and answered is not None:
        from ulfine_fast.priors.class_prior import prior_shift, probabilities_under

        prior = wanted.settled(lambda: values, answered, "inputs", progress)
        probabilities = probabilities_under(values, prior_shift(prior, answered))
    scores = np.concatenate([np.zeros(0, np.float32), *found.scores]) if predictor.scores_outliers else None
    if not found.paths:
        out = None
    threshold = predictor.threshold if wanted is None else None
    class_thresholds = predictor.class_thresholds if wanted is None else None
    if predictor.threshold is not None and wanted is not None:
        progress.note(f"the threshold of {model} is for its answers without a test prior: nothing is marked accepted")
    if out is not None:
        write_predictions(
            out,
            paths=found.paths,
            probabilities=probabilities,
            class_names=predictor.class_names,
            threshold=class_thresholds or threshold,
            outlier_scores=scores,
        )
    return Predictions(
        model=model,
        device=predictor.device,
        class_names=predictor.class_names,
        paths=found.paths,
        probabilities=probabilities,
        unreadable=found.unreadable,
        out=out,
        seconds=time.perf_counter() - started,
        test_prior=None if wanted is None else wanted.name,
        class_prior=prior,
        threshold=threshold,
        class_thresholds=class_thresholds,
        outlier_scores=scores,
    )


def _missing(inputs: Sequence[Path]) -> str:
    """Say why there is nothing to do, "" where there is something."""
    if not inputs:
        return "nothing to predict: name images, folders of images, or features"
    # A link that leads nowhere is there, and named with the others that cannot be read.
    if any(path.exists() or path.is_symlink() for path in inputs):
        return ""
    more = f" (nor {amount(len(inputs) - 1, 'other input')})" if len(inputs) > 1 else ""
    return f"{inputs[0]}{more} does not exist: check the path"


@dataclass(frozen=True)
class _Found:
    """What has been found so far: probabilities, or the logits, where there is a test prior."""

    with_logits: bool
    paths: list[str] = field(default_factory=list)
    values: list[NDArray[np.float32]] = field(default_factory=list)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    unreadable: list[dict[str, str]] = field(default_factory=list)

    def add(self, paths: Sequence[str], answers: Answers) -> None:
        self.paths.extend(paths)
        self.values.append(answers.logits if self.with_logits else answers.probabilities)
        if answers.outlier_scores is not None:
            self.scores.append(answers.outlier_scores)

    def reject(self, path: Path, reason: str) -> None:
        self.unreadable.append({"path": str(path), "reason": reason})


def _classify_images(inputs: Sequence[Path], predictor: Predictor, found: _Found, progress: Progress) -> None:
    """Decode and classify up to `BATCH` images at a time, fewer where they are large."""
    from ulfine_exports.inference.pictures import BUDGET

    read = predictor.reader()
    files = _listed(inputs, found)
    paths: list[str] = []
    pictures: list[NDArray[np.uint8]] = []
    for done, file in enumerate(files, start=1):
        try:
            pictures.append(read(file))
            paths.append(str(file))
        except UlfineError as error:
            found.reject(file, str(error))
        full = len(paths) == BATCH or sum(picture.nbytes for picture in pictures) > BUDGET
        if paths and (full or done == len(files)):
            found.add(paths, predictor.images(pictures))
            paths, pictures = [], []
            progress.update("predicting", done, len(files))


def _listed(inputs: Sequence[Path], found: _Found) -> list[Path]:
    """The image files that the inputs name, in order, each once; what names none is rejected."""
    from ulfine_exports.inference.pictures import find_images

    files: dict[Path, None] = {}
    for path in inputs:
        inside = find_images(path) if path.is_dir() else [path]
        if not inside:
            found.reject(path, "no images in this folder")
        files.update(dict.fromkeys(inside))
    return list(files)
