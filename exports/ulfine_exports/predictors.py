"""The two things that can predict, behind one face: a run, in torch, and an exported file, in onnxruntime."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_cache.encoder import ClipEncoder
    from ulfine_cache.preprocess import Preprocess


class Predictor(Protocol):
    """A classifier of images, of features, or of both.

    Attributes:
        class_names: C names.
        device: What it runs on.
        weights_hash: The encoder whose features it takes; ``""`` where that is unknown.
    """

    class_names: tuple[str, ...]
    device: str
    weights_hash: str

    def preprocess(self) -> "Preprocess":
        """How images become pixels.

        Raises:
            UlfineError: It takes features only.
        """
        ...

    def images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities (n, C) of pixels (n, H, W, 3), as `preprocess` gives them."""
        ...

    def features(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n, C) of features (n, D).

        Raises:
            UlfineError: It takes images only, or features of another width.
        """
        ...


def open_predictor(model: Path) -> Predictor:
    """Open a run directory or an exported file.

    Raises:
        UlfineError: It is neither, or cannot be used.
    """
    if model.is_dir():
        return RunPredictor(model)
    if model.suffix.lower() == ".onnx" or model.is_file():
        return OnnxPredictor(model)
    raise UlfineError(f"no model at {model}: give the directory of a run or an exported .onnx file")


class OnnxPredictor:
    """An exported file; see `Predictor`."""

    def __init__(self, path: Path) -> None:
        from ulfine_exports.onnx_classifier import OnnxClassifier

        self._classifier = OnnxClassifier(path)
        self.class_names = self._classifier.class_names
        self.device = f"{self._classifier.device} (onnxruntime, {self._classifier.device_reason})"
        self.weights_hash = self._classifier.metadata.weights_hash

    def preprocess(self) -> "Preprocess":
        """How images become pixels."""
        return self._classifier.preprocess

    def images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of pixels."""
        return self._classifier.predict_proba(self._classifier.preprocess.normalise(pixels))

    def features(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of features."""
        if self._classifier.metadata.input != "features":
            raise UlfineError(
                f"{self._classifier.path} takes images, not features: export the run with --input features"
            )
        return self._classifier.predict_proba(rows, batch_size=len(rows) or 1)


class RunPredictor:
    """A run directory; see `Predictor`. The encoder is loaded when the first image comes."""

    def __init__(self, path: Path) -> None:
        from ulfine_fast.run import load_run

        self._run = load_run(path)
        self._encoder: ClipEncoder | None = None
        self.class_names = self._run.class_names
        self.device = "cpu (torch)"
        self.weights_hash = (self._run.cache or {}).get("weights_hash", "")

    def preprocess(self) -> "Preprocess":
        """How images become pixels."""
        return self._loaded().preprocess

    def images(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of pixels."""
        return self._run.predict_proba(self._loaded().encode_images(pixels))

    def features(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of features."""
        return self._run.predict_proba(rows)

    def _loaded(self) -> "ClipEncoder":
        if self._encoder is None:
            from ulfine_exports.run_encoder import encoder_of

            self._encoder = encoder_of(self._run, "give features instead of images")
        return self._encoder
