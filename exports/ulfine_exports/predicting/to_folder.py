"""`ulfine predict --out DIR`: one source of images, classified into a folder of Parquet parts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.encoding.engines.open_engine import open_engine
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress
from ulfine_cache.sources.open_unlabelled import open_unlabelled
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.store.lock import writing
from ulfine_exports.predicting.in_parts import predict_in_parts
from ulfine_exports.predicting.part_files import PartFolder
from ulfine_exports.predicting.part_job import part_jobs
from ulfine_exports.predicting.part_request import PartRequest
from ulfine_exports.predicting.predictions import PredictionsInParts
from ulfine_exports.predicting.predictors import open_predictor
from ulfine_fast.judging.five_crops import Views
from ulfine_fast.priors.test_prior import read_test_prior
from ulfine_fast.records.predictions import check_predictions_path


def predict_to_folder(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    options: SourceOptions,
    *,
    views: Views,
    test_prior: str | None,
    timeout: float,
    part_size: int,
    batch_size: int,
    workers: int | None,
    engine: Mapping[str, Any],
    progress: Progress,
) -> PredictionsInParts:
    """Classify the images of one source; the arguments are those of `ulfine_exports.predict.predict`.

    Those of them that say where parts are made come as ``engine``, for `open_engine`.

    Raises:
        UsageError: There are several inputs, or the test prior is to be estimated.
        UlfineError: As there.
    """
    started = time.perf_counter()
    if len(inputs) != 1:
        raise UsageError("--out DIR takes one source: a folder, a table, a .zip file or .tar files")
    (place,) = inputs
    if test_prior == "estimate":
        raise UsageError("--test-prior estimate needs all answers at once: write a .csv or .parquet file instead")
    if (place / "cache.h5").is_file():
        raise UlfineError(f"{place} holds features: write their predictions to a .csv or .parquet file")
    if out.resolve().is_relative_to(place.resolve()):
        raise UlfineError(f"--out {out} lies in the folder of images {place}: choose a directory outside it")
    check_predictions_path(out / "part.parquet")
    progress.note(f"loading {model}")
    predictor = open_predictor(model, views, timeout, progress)
    prior = None
    if test_prior is not None:
        # A file that does not know its own prior is told of first.
        predictor.answered_prior()
        prior = read_test_prior(test_prior, predictor.class_names, predictor.labelled_counts).prior
    source = open_unlabelled(place, options)
    if engine["engine"] == "local":
        progress.note(f"{model} runs on {predictor.device}")
    if predictor.threshold is not None and prior is not None:
        progress.note(f"the threshold of {model} is for its answers without a test prior: nothing is marked accepted")
    request = PartRequest(model, place, out, options, views, prior, timeout, part_size, batch_size, workers)
    elsewhere: list[str] = []

    def runs_on(device: str) -> None:
        if device not in elsewhere:
            elsewhere.append(device)
            progress.note(f"{model} runs on {device} in workers")

    with writing(out), closing(open_engine(engine, out, part_jobs(request, runs_on))) as makes_parts:
        PartFolder(out).settle(request.settings(predictor))
        done = predict_in_parts(request.work(source, predictor), makes_parts, progress)
    return PredictionsInParts(
        model=model,
        device=", ".join(elsewhere) or predictor.device,
        class_names=predictor.class_names,
        paths=[],
        probabilities=np.zeros((0, len(predictor.class_names)), np.float32),
        unreadable=[],
        out=out,
        seconds=time.perf_counter() - started,
        test_prior=None if test_prior is None else test_prior if test_prior in ("uniform", "labelled") else "file",
        class_prior=prior,
        threshold=request.threshold(predictor),
        class_thresholds=request.class_thresholds(predictor),
        done=done,
    )
