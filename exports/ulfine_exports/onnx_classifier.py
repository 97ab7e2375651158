"""An exported file as a classifier: onnxruntime, numpy and Pillow, no torch."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_exports.inference.exported_file import ExportedFile
from ulfine_exports.inference.pictures import Picture, by_size, to_array, to_pixels
from ulfine_exports.inference.providers import Device

if TYPE_CHECKING:
    from ulfine_cache.preprocess import Preprocess


class OnnxClassifier:
    """A file written by `ulfine export`, ready to classify.

    The file is not trusted: it is read into memory and refused when it refers to data outside itself or to operators
    beyond the ONNX standard, before onnxruntime sees it.

    Args:
        path: The ``.onnx`` file.
        device: ``"auto"`` takes CUDA where a session really gets it, else the CPU; ``"cuda"`` insists; ``"cpu"``.

    Attributes:
        path: The file.
        metadata: All that the file says about itself.
        class_names: The C class names, in the order of the probabilities' columns.
        device: What the session really uses, ``"cpu"`` or ``"cuda"``.
        device_reason: Why, when ``"auto"`` chose.
        providers: The execution providers that the session holds.

    Raises:
        UlfineError: The file is missing, is no ONNX model, was not written by `ulfine export`, or is refused as above;
            CUDA was asked for and cannot be had.

    Example:
        >>> classifier = OnnxClassifier(Path("model.onnx"))
        >>> probabilities = classifier.predict_proba(["photos/seven/0001.png", "photos/three/0001.png"])
        >>> [classifier.class_names[column] for column in probabilities.argmax(axis=1)]
        ['seven', 'three']
    """

    def __init__(self, path: Path | str, device: Device = "auto") -> None:
        self._file = ExportedFile(Path(path), device)
        self.path = self._file.path
        self.metadata = self._file.metadata
        self.device = self._file.opened.device
        self.device_reason = self._file.opened.reason
        self.providers = self._file.opened.providers

    @property
    def class_names(self) -> tuple[str, ...]:
        """The C class names, in the order of the columns."""
        return self.metadata.class_names

    def predict_proba(self, inputs: Sequence[Picture] | NDArray[Any], *, batch_size: int = 32) -> NDArray[np.float32]:
        """Class probabilities.

        Args:
            inputs: For a ``pixels`` or ``image`` export N images (paths, bytes of files, Pillow images), of any sizes.
                Or an array: for ``pixels`` normalised ones, float (N, 3, H, W); for ``image`` pictures of one size,
                uint8 (N, height, width, 3); for ``features`` features of any length from 1e-10 to
                1e18, float (N, D).
            batch_size: Rows that are decoded and run at a time.

        Returns:
            float32 (N, C), rows sum to 1; C columns in the order of `class_names`. N may be 0.

        Raises:
            UlfineError: The input does not fit the file, holds NaN or infinite values, features of a length that cannot
                be normalised or what cannot be pixels, or an image cannot be read.
        """
        return self.predict_both(inputs, batch_size=batch_size)[0]

    def predict_both(
        self, inputs: Sequence[Picture] | NDArray[Any], *, batch_size: int = 32
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Class probabilities and logits, both float32 (N, C); see `predict_proba`."""
        probabilities = np.zeros((len(inputs), len(self.class_names)), np.float32)
        logits = probabilities.copy()
        for places, batch in self._batches(inputs, batch_size):
            probabilities[places], logits[places] = self._file.run(batch)[:2]
        return probabilities, logits

    def outlier_scores(
        self, inputs: Sequence[Picture] | NDArray[Any], *, batch_size: int = 32
    ) -> NDArray[np.float32] | None:
        """How unlike every class inputs are; see `predict_proba`.

        Returns:
            float32 (N,): above 1 is stranger than 95 % of the labelled images that the fit left out. None where the
            file has no such score: fit the run with ``--outlier-score``.
        """
        if not self._file.scores_outliers:
            return None
        scores = np.zeros(len(inputs), np.float32)
        for places, batch in self._batches(inputs, batch_size):
            scores[places] = self._file.run(batch).outlier_scores
        return scores

    def predict(self, inputs: Sequence[Picture] | NDArray[Any], *, batch_size: int = 32) -> list[str]:
        """The most probable class name of each input; see `predict_proba`."""
        best = self.predict_proba(inputs, batch_size=batch_size).argmax(axis=1)
        return [self.class_names[index] for index in best]

    @property
    def preprocess(self) -> "Preprocess":
        """How this file wants its images, as the cache was made; for ``image`` how it prepares them itself.

        Raises:
            UlfineError: This file takes features.
        """
        return self._file.preprocess

    def _batches(
        self, inputs: Sequence[Picture] | NDArray[Any], batch_size: int
    ) -> Iterator[tuple[Sequence[int], NDArray[Any]]]:
        """Batches for the graph, with the places of their rows among the inputs."""
        if batch_size < 1:
            raise UlfineError(f"batch_size is {batch_size}: give at least 1")
        if isinstance(inputs, np.ndarray):
            rows = self._file.checked(inputs)
            for first in range(0, len(rows), batch_size):
                part = range(first, min(first + batch_size, len(rows)))
                yield part, rows[part.start : part.stop]
            return
        if isinstance(inputs, (str, bytes, Path)):
            raise UlfineError("predict_proba takes a list of images: put the single one in brackets")
        preprocess = self.preprocess
        if self.metadata.input == "image":
            yield from by_size((_read(to_array, picture, place) for place, picture in enumerate(inputs)), batch_size)
            return
        for first in range(0, len(inputs), batch_size):
            part = range(first, min(first + batch_size, len(inputs)))
            pixels = [_read(partial(to_pixels, preprocess=preprocess), inputs[place], place) for place in part]
            yield part, preprocess.normalise(np.stack(pixels))


def _read(read: Callable[[Picture], NDArray[np.uint8]], picture: Picture, place: int) -> NDArray[np.uint8]:
    from ulfine_cache.pictures.pixels import UndecodableImage

    try:
        return read(picture)
    except UndecodableImage as error:
        name = picture if isinstance(picture, (str, Path)) else f"image {place}"
        raise UlfineError(f"{name}: {error}") from error
