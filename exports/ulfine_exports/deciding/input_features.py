"""Features of what a user names: of images by a run's encoder, or as they lie in a cache or a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress

if TYPE_CHECKING:
    from ulfine_fast.run import Run

BATCH = 32


@dataclass(frozen=True)
class InputFeatures:
    """Features of inputs.

    Attributes:
        paths: N names.
        features: float32 (N, D), of the first view.
        unreadable: The other inputs, each ``{"path", "reason"}``.
    """

    paths: list[str]
    features: NDArray[np.float32]
    unreadable: list[dict[str, str]]


def input_features(run: "Run", inputs: Sequence[Path], progress: Progress) -> InputFeatures:
    """Read or make the features of inputs.

    Raises:
        UlfineError: An input does not exist, is of another encoder, or the encoder cannot be loaded.
    """
    from ulfine_exports.predicting.feature_inputs import feature_blocks, is_features

    for path in inputs:
        if not path.exists():
            raise UlfineError(f"{path} does not exist: check the path")
    if not inputs or not is_features(inputs[0]):
        return _of_images(run, inputs, progress)
    paths: list[str] = []
    found = [np.zeros((0, run.n_features), np.float32)]
    for path in inputs:
        for names, rows in feature_blocks(path, (run.cache or {}).get("weights_hash", "")):
            if rows.shape[1] != run.n_features:
                raise UlfineError(f"{path} is of another model: its features are {rows.shape[1]} wide")
            paths += names
            found.append(rows)
    return InputFeatures(paths, np.concatenate(found), [])


def _of_images(run: "Run", inputs: Sequence[Path], progress: Progress) -> InputFeatures:
    from ulfine_cache.pictures.views import make_views
    from ulfine_exports.encoders.run_encoder import encoder_of
    from ulfine_exports.inference.pictures import find_images, to_picture

    files = list(dict.fromkeys(file for path in inputs for file in (find_images(path) if path.is_dir() else [path])))
    if not files:
        raise UlfineError("no images: name images, folders of images, or features")
    encoder = encoder_of(run, "give features instead of images", progress=progress)
    paths: list[str] = []
    unreadable: list[dict[str, str]] = []
    found = [np.zeros((0, run.n_features), np.float32)]
    for start in range(0, len(files), BATCH):
        pictures: list[NDArray[np.uint8]] = []
        for file in files[start : start + BATCH]:
            try:
                pictures.append(make_views(to_picture(file), encoder.preprocess, "center"))
                paths.append(str(file))
            except UlfineError as error:
                unreadable.append({"path": str(file), "reason": str(error)})
        if pictures:
            found.append(encoder.encode_images(np.concatenate(pictures)))
        progress.update("encoding", min(start + BATCH, len(files)), len(files))
    return InputFeatures(paths, np.concatenate(found), unreadable)
