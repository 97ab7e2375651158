"""Former and new rows as a model sees them, of a run or of an exported file: what a drift test compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress

if TYPE_CHECKING:
    from ulfine_exports.deciding.input_features import InputFeatures

MOST_ROWS = 1000
"""New rows that are tested; of more, a sample that covers them evenly."""

BATCH = 32


@dataclass(frozen=True)
class ComparedRows:
    """Two sets of rows.

    Attributes:
        class_names: C names.
        former: float32 (M, W), of the fit.
        new: float32 (N, W), in the same space.
        former_answers: int (M,), the classes that the model names.
        new_answers: int (N,).
        paths: Names of the new rows.
        images: How many inputs could be read; more than N where there are more than `MOST_ROWS`.
        unreadable: The other inputs, each ``{"path", "reason"}``.
    """

    class_names: tuple[str, ...]
    former: NDArray[np.float32]
    new: NDArray[np.float32]
    former_answers: NDArray[np.integer]
    new_answers: NDArray[np.integer]
    paths: list[str]
    images: int
    unreadable: list[dict[str, str]]


def rows_of_run(model: Path, inputs: Sequence[Path], progress: Progress) -> ComparedRows:
    """Compare with the rows that a run remembers, in whole features.

    Raises:
        UlfineError: The run remembers no rows, or the inputs cannot be used.
    """
    from ulfine_exports.deciding.input_features import input_features
    from ulfine_fast.records.reference_rows import read_reference
    from ulfine_fast.run import load_run

    run = load_run(model)
    former = read_reference(model)
    found = input_features(run, inputs, progress)
    chosen = _chosen(found)
    new = found.features[chosen]
    new /= np.maximum(np.linalg.norm(new, axis=1, keepdims=True), 1e-12)
    before, now = (run.predict_proba(rows).argmax(1) for rows in (former, new))
    paths = [found.paths[place] for place in chosen.tolist()]
    return ComparedRows(run.class_names, former, new, before, now, paths, len(found.paths), found.unreadable)


def rows_of_file(model: Path, inputs: Sequence[Path], progress: Progress) -> ComparedRows:
    """Compare with the rows that an exported file remembers, in the projection that it keeps.

    Raises:
        UlfineError: The file remembers no rows, or the inputs cannot be used.
    """
    from ulfine_exports.drifting.inner_features import open_with_features
    from ulfine_exports.drifting.reference import read_reference_text
    from ulfine_exports.inference.untrusted_model import read_model
    from ulfine_exports.metadata import ExportMetadata

    proto = read_model(model)
    metadata = ExportMetadata.from_props({item.key: item.value for item in proto.metadata_props}, str(model))
    reference = read_reference_text(metadata.reference, str(model))
    if reference.answers.max() >= len(metadata.class_names):
        raise UlfineError(f"{model} carries a damaged reference (its answers do not fit): export it again")
    session = open_with_features(proto, reference.tensor)
    if metadata.input == "features":
        found, answers = _features_of(model, metadata, session, inputs)
    else:
        found, answers = _pictures_of(model, metadata, session, inputs, progress)
    chosen = _chosen(found)
    new = reference.like(found.features[chosen])
    if new.shape[1] != reference.rows.shape[1]:
        raise UlfineError(f"{model} remembers rows of another width than it makes: export it again")
    paths = [found.paths[place] for place in chosen.tolist()]
    return ComparedRows(
        metadata.class_names,
        reference.rows,
        new,
        reference.answers,
        answers[chosen],
        paths,
        len(found.paths),
        found.unreadable,
    )


def _chosen(found: InputFeatures) -> NDArray[np.int64]:
    from ulfine_fast.rows.sample_places import sample_places

    if not len(found.paths):
        raise UlfineError(f"none of the inputs can be read: {found.unreadable[0]['reason']}")
    return sample_places(len(found.paths), MOST_ROWS)


def _features_of(
    model: Path, metadata: Any, session: Any, inputs: Sequence[Path]
) -> tuple[InputFeatures, NDArray[np.int64]]:
    from ulfine_exports.deciding.input_features import InputFeatures
    from ulfine_exports.inference.acceptable import input_objection
    from ulfine_exports.predicting.feature_inputs import feature_blocks, is_features

    paths: list[str] = []
    rows: list[NDArray[Any]] = []
    answers: list[NDArray[Any]] = []
    for path in inputs:
        if not path.exists():
            raise UlfineError(f"{path} does not exist: check the path")
        if not is_features(path):
            raise UlfineError(f"{model} takes features, and {path} holds none: name a cache or an .npz file")
        for names, block in feature_blocks(path, metadata.weights_hash):
            if block.shape[1] != metadata.n_features:
                raise UlfineError(f"{path} is of another model: its features are {block.shape[1]} wide")
            if reason := input_objection("features", block):
                raise UlfineError(f"{path}: {reason}")
            paths += names
            rows.append(block)
            answers.append(session(block)[1].argmax(1))
    if not rows:
        raise UlfineError("no features: name a cache or an .npz file")
    return InputFeatures(paths, np.concatenate(rows), []), np.concatenate(answers)


def _pictures_of(
    model: Path, metadata: Any, session: Any, inputs: Sequence[Path], progress: Progress
) -> tuple[InputFeatures, NDArray[np.int64]]:
    from ulfine_cache.pictures.joined_preprocess import read_preprocess
    from ulfine_exports.deciding.input_features import InputFeatures
    from ulfine_exports.inference.pictures import by_size, find_images, to_array, to_pixels
    from ulfine_exports.predicting.feature_inputs import is_features

    for path in inputs:
        if not path.exists():
            raise UlfineError(f"{path} does not exist: check the path")
        if is_features(path):
            raise UlfineError(f"{model} takes images, and {path} holds features: name the images, or the run")
    files = list(dict.fromkeys(file for path in inputs for file in (find_images(path) if path.is_dir() else [path])))
    if not files:
        raise UlfineError("no images: name images or folders of images")
    preprocess = read_preprocess(metadata.preprocess)
    paths: list[str] = []
    unreadable: list[dict[str, str]] = []
    rows: list[NDArray[Any]] = []
    answers: list[NDArray[Any]] = []
    for start in range(0, len(files), BATCH):
        pictures: list[NDArray[np.uint8]] = []
        for file in files[start : start + BATCH]:
            try:
                pictures.append(to_array(file) if metadata.input == "image" else to_pixels(file, preprocess))
                paths.append(str(file))
            except UlfineError as error:
                unreadable.append({"path": str(file), "reason": str(error)})
        found: list[Any] = [None] * len(pictures)
        for places, batch in by_size(pictures, BATCH):
            features, probabilities = session(batch if metadata.input == "image" else preprocess.normalise(batch))
            for place, row, told in zip(places, features, probabilities, strict=True):
                found[place] = (row, int(told.argmax()))
        rows += [row for row, _ in found]
        answers += [np.array(answer) for _, answer in found]
        progress.update("encoding", min(start + BATCH, len(files)), len(files))
    every = np.stack(rows) if rows else np.zeros((0, 1), np.float32)
    return InputFeatures(paths, every, unreadable), np.array(answers, np.int64)
