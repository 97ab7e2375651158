"""`ulfine predict`: classes of new images, or of features, by a run or by an exported file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Gt, Le

from ulfine_cache.command import command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.wording.counts import amount
from ulfine_fast.judging.five_crops import Views
from ulfine_fast.priors.test_prior import TestPriorOption

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ulfine_exports.predicting.predictors import Answers, Predictor

BATCH = 32
"""Images decoded and classified at a time: what bounds the memory."""


@dataclass(frozen=True)
class Predictions:
    """What `predict` found.

    Attributes:
        model: The run or file that classified.
        device: What it ran on.
        class_names: C names, in the order of the columns.
        paths: n inputs that could be read: paths of images, or the names of rows of features.
        probabilities: float32 (n, C).
        unreadable: The other inputs, each ``{"path", "reason"}``.
        out: The file that was written; None where none was asked for, or no input could be read.
        seconds: Time from start to end.
        test_prior: Name of the prior that the answers are for, see `TestPrior`; None: as the model is.
        class_prior: float64 (C,), that prior.
        threshold: Confidence from which an answer is accepted; None where the model has none, or under a test prior,
            for which none was learnt.
    """

    model: Path
    device: str
    class_names: tuple[str, ...]
    paths: list[str]
    probabilities: NDArray[np.float32]
    unreadable: list[dict[str, str]]
    out: Path | None
    seconds: float
    test_prior: str | None = None
    class_prior: NDArray[np.float64] | None = None
    threshold: float | None = None

    @property
    def accepted(self) -> NDArray[np.bool_] | None:
        """Bool (n,): whether the confidence reaches the threshold; None without one."""
        return None if self.threshold is None else self.confidences >= self.threshold

    @property
    def labels(self) -> list[str]:
        """The most probable class of each input."""
        return [self.class_names[index] for index in self.probabilities.argmax(axis=1)]

    @property
    def confidences(self) -> NDArray[np.float32]:
        """float32 (n,): the probability of that class."""
        return self.probabilities.max(axis=1)

    def figures(self) -> dict[str, Any]:
        """What the command line prints and writes with ``--json``; `out` holds all probabilities."""
        rows = zip(self.paths, self.labels, self.confidences.tolist(), strict=True)
        under: dict[str, Any] = {}
        if self.class_prior is not None:
            from ulfine_fast.priors.class_prior import prior_figures

            under = prior_figures(self.test_prior, self.class_prior, self.class_names)
        predictions: list[dict[str, Any]] = [
            {"path": path, "label": label, "confidence": value} for path, label, value in rows
        ]
        sure: dict[str, Any] = {}
        if self.accepted is not None:
            sure = {"threshold": self.threshold, "accepted": int(self.accepted.sum())}
            for entry, accepted in zip(predictions, self.accepted.tolist(), strict=True):
                entry["accepted"] = accepted
        return {
            "model": str(self.model),
            "device": self.device,
            **under,
            **sure,
            "predictions": predictions,
            "unreadable": self.unreadable,
            "out": None if self.out is None else str(self.out),
            "seconds": round(self.seconds, 3),
        }


@command
def predict(
    *,
    model: Path,
    inputs: Sequence[Path],
    views: Views = "auto",
    test_prior: TestPriorOption | None = None,
    timeout: Annotated[float, Gt(0), Le(86_400)] = 600.0,
    out: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> Predictions:
    """Classify images with a run or an exported file.

    A run takes images (with the encoder of its cache) and features; an exported file takes images or features, as it
    was written, and is run by onnxruntime, without torch. Images that cannot be read are named and do not end the job;
    the command line then ends with the exit code 1.

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
        out: Write all probabilities to this ``.csv`` file, or ``.parquet`` with the extra parquet.
        progress: Told about the images.

    Returns:
        The predictions, in the order of the inputs. Figures: model, device, predictions (list of {"path", "label",
        "confidence"}, with "accepted" where the model has a threshold, which then is threshold, and accepted their
        number), unreadable (list of {"path", "reason"}), out, seconds; under a test prior its name as test_prior
        and class_prior, name to share.

    Raises:
        UsageError: `out` has another suffix, there are no inputs, the views are unknown or not for this model, or
            `test_prior` is neither a word nor a file.
        UlfineError: The model or an input cannot be used, the file of weights does not fit, the exported file does not
            record its prior, or `out` cannot be written.

    Example:
        >>> found = predict(model=Path("model.onnx"), inputs=[Path("photos/seven")], out=Path("predictions.csv"))
        >>> found.labels[:2]
        ['seven', 'seven']
    """
    import numpy as np

    from ulfine_exports.predicting.feature_inputs import feature_blocks, is_features
    from ulfine_exports.predicting.predictors import open_predictor
    from ulfine_fast.records.predictions import check_predictions_path, write_predictions

    started = time.perf_counter()
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
    if not found.paths:
        out = None
    threshold = predictor.threshold if wanted is None else None
    if predictor.threshold is not None and wanted is not None:
        progress.note(f"the threshold of {model} is for its answers without a test prior: nothing is marked accepted")
    if out is not None:
        write_predictions(
            out,
            paths=found.paths,
            probabilities=probabilities,
            class_names=predictor.class_names,
            threshold=threshold,
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
    unreadable: list[dict[str, str]] = field(default_factory=list)

    def add(self, paths: Sequence[str], answers: Answers) -> None:
        self.paths.extend(paths)
        self.values.append(answers[int(self.with_logits)])

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
