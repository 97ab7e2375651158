"""`ulfine predict --out DIR`: one source of images, classified into a folder of Parquet parts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress
from ulfine_cache.sources.open_unlabelled import open_unlabelled
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.store.digest_file import file_sha256
from ulfine_cache.store.lock import writing
from ulfine_exports.predicting.in_parts import predict_in_parts
from ulfine_exports.predicting.part_files import PartFolder
from ulfine_exports.predicting.predictions import PredictionsInParts
from ulfine_exports.predicting.predictors import open_predictor
from ulfine_fast.judging.five_crops import Views
from ulfine_fast.priors.class_prior import prior_shift, probabilities_under
from ulfine_fast.priors.test_prior import read_test_prior
from ulfine_fast.records.predictions import check_predictions_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_exports.inference.exported_file import Answers


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
    progress: Progress,
) -> PredictionsInParts:
    """Classify the images of one source; the arguments are those of `ulfine_exports.predict.predict`.

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
    prior = shift = None
    if test_prior is not None:
        answered = predictor.answered_prior()
        prior = read_test_prior(test_prior, predictor.class_names, predictor.labelled_counts).prior
        shift = None if prior is None else prior_shift(prior, answered)
    source = open_unlabelled(place, options)
    progress.note(f"{model} runs on {predictor.device}")
    if predictor.threshold is not None and prior is not None:
        progress.note(f"the threshold of {model} is for its answers without a test prior: nothing is marked accepted")

    def answer(answers: Answers) -> NDArray[np.float32]:
        return answers.probabilities if shift is None else probabilities_under(answers.logits, shift)

    threshold = predictor.threshold if prior is None else None
    class_thresholds = predictor.class_thresholds if prior is None else None
    settings = {
        "model": file_sha256(model / "model.safetensors" if model.is_dir() else model)[:16],
        "views": predictor.views,
        "test_prior": None if prior is None else [float(f"{share:.6g}") for share in prior],
        "part_size": part_size,
        "batch_size": batch_size,
        **({} if class_thresholds is None else {"class_thresholds": list(class_thresholds)}),
        **({"outlier_score": True} if predictor.scores_outliers else {}),
    }
    with writing(out):
        folder = PartFolder(out)
        folder.settle(settings)
        done = predict_in_parts(
            source,
            folder,
            predictor,
            answer,
            class_thresholds or threshold,
            part_size=part_size,
            batch_size=batch_size,
            workers=workers,
            progress=progress,
        )
    return PredictionsInParts(
        model=model,
        device=predictor.device,
        class_names=predictor.class_names,
        paths=[],
        probabilities=np.zeros((0, len(predictor.class_names)), np.float32),
        unreadable=[],
        out=out,
        seconds=time.perf_counter() - started,
        test_prior=None if test_prior is None else test_prior if test_prior in ("uniform", "labelled") else "file",
        class_prior=prior,
        threshold=threshold,
        class_thresholds=class_thresholds,
        done=done,
    )
