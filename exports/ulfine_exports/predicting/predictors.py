"""The two things that can predict, behind one face: a run, in torch, and an exported file, in onnxruntime."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_exports.inference.exported_file import Answers, ExportedFile
from ulfine_exports.inference.pictures import Picture, by_size, to_array, to_picture, to_pixels
from ulfine_fast.judging.five_crops import Views

if TYPE_CHECKING:
    from ulfine_cache.encoders.encoder import ClipEncoder


_RUNNING = 2
_MOST_LANES = 16


class Predictor(Protocol):
    """A classifier of images, of features, or of both.

    Attributes:
        class_names: C names.
        device: What it runs on.
        weights_hash: The encoder whose features it takes; ``""`` where that is unknown.
        views: What it looks at in an image, one of `ulfine_exports.metadata.VIEWS`.
        labelled_counts: (C,) labelled images that it was fitted on; empty where that is unknown.
        takes_features: Whether `features` works, of rows of a cache.
        whole_pictures: Whether `reader` gives pictures in their own size, which may be large.
        threshold: Confidence from which an answer counts as accepted; None where none was learnt.
        class_thresholds: That of each class, (C,); None where `threshold` is for all.
        scores_outliers: Whether its answers have outlier scores.
    """

    class_names: tuple[str, ...]
    device: str
    weights_hash: str
    views: str
    labelled_counts: tuple[int, ...]
    takes_features: bool
    whole_pictures: bool
    threshold: float | None
    class_thresholds: tuple[float, ...] | None
    scores_outliers: bool

    def answered_prior(self) -> NDArray[np.float64]:
        """The class prior that its answers are for, (C,).

        Raises:
            UlfineError: Nobody knows.
        """
        ...

    def reader(self) -> Callable[[Picture], NDArray[np.uint8]]:
        """A function that reads a picture into the array that `images` takes of it.

        Raises:
            UlfineError: It takes features only.
        """
        ...

    def images(self, pictures: list[NDArray[np.uint8]]) -> Answers:
        """Answers for n pictures, as `reader` gives them; n of at least 1."""
        ...

    def side_by_side(self, cores: int) -> AbstractContextManager[tuple[int, Callable[[], None]]]:
        """Hold what lets answers for a batch have the same bits on any number of cores.

        Args:
            cores: How many there are.

        Returns:
            How many threads are to ask for batches at once while it is held, and what each does first.
        """
        ...

    def features(self, rows: NDArray[np.float32]) -> Answers:
        """Answers for features (n, D), or for (n, views, D) where it looks at several views.

        Raises:
            UlfineError: It takes images only, or features of another width.
        """
        ...


def open_predictor(
    model: Path,
    views: Views = "auto",
    timeout: float | None = None,
    progress: Progress = Silent(),  # noqa: B008
    threads: int | None = None,
) -> Predictor:
    """Open a run directory or an exported file.

    Args:
        model: The directory or file.
        views: What a run looks at in an image, one of `Views`; ``"auto"``: what it was judged by when it was fitted.
        timeout: Seconds that an exported file may take for a batch; None for no bound.
        progress: Told what is loaded.
        threads: CPU threads of an exported file; None for the CPUs that this process may use.

    Raises:
        UsageError: An exported file was to look at other views than it does.
        UlfineError: It is neither, or cannot be used.
    """
    if model.is_dir():
        return RunPredictor(model, views, progress)
    if model.suffix.lower() == ".onnx" or model.is_file():
        exported = OnnxPredictor(model, timeout, threads)
        if views not in ("auto", exported.views):
            raise UsageError(
                f"--views {views} is for runs: what {model} looks at ({exported.views}) is inside it; export it with "
                f"--input image --views {views}"
            )
        return exported
    raise UlfineError(f"no model at {model}: give the directory of a run or an exported .onnx file")


class OnnxPredictor:
    """An exported file; see `Predictor`."""

    def __init__(self, path: Path, timeout: float | None = None, threads: int | None = None) -> None:
        # Threads that decode want the cores that waiting threads would keep.
        self._file = ExportedFile(path, threads=threads, spinning=False, timeout=timeout)
        self._alone = Lock()
        metadata, opened = self._file.metadata, self._file.opened
        self.class_names = metadata.class_names
        self.device = f"{opened.device} (onnxruntime, {opened.reason})"
        self.weights_hash = metadata.weights_hash
        self.views = metadata.views or "center"
        self.labelled_counts = metadata.labelled_counts
        self.takes_features = metadata.input == "features"
        self.whole_pictures = metadata.input == "image"
        self.threshold = metadata.acceptance_threshold
        self.class_thresholds = metadata.acceptance_class_thresholds
        self.scores_outliers = self._file.scores_outliers

    def answered_prior(self) -> NDArray[np.float64]:
        """What the file records."""
        recorded = self._file.metadata.class_prior
        if not recorded or not self.labelled_counts:
            raise UlfineError(
                f"{self._file.path} does not record which class prior its answers are for, so they cannot be "
                "for a test prior: export the run again"
            )
        return np.asarray(recorded, dtype=np.float64) / sum(recorded)

    def reader(self) -> Callable[[Picture], NDArray[np.uint8]]:
        """Pixels for a ``pixels`` file; the whole picture for an ``image`` file."""
        preprocess = self._file.preprocess
        if self._file.metadata.input == "image":
            return to_array
        return partial(to_pixels, preprocess=preprocess)

    def images(self, pictures: list[NDArray[np.uint8]]) -> Answers:
        """Answers for pictures."""
        if self._file.metadata.input != "image":
            pixels = self._file.preprocess.normalise(np.stack(pictures))
            # A run takes all cores; two at once would keep each other waiting.
            with self._alone:
                return self._file.answers(pixels)
        probabilities = np.zeros((len(pictures), len(self.class_names)), np.float32)
        logits = probabilities.copy()
        scores = np.zeros(len(pictures), np.float32) if self.scores_outliers else None
        for places, batch in by_size(pictures, len(pictures)):
            with self._alone:
                probabilities[places], logits[places], found = self._file.answers(batch)
            if scores is not None:
                scores[places] = found
        return Answers(probabilities, logits, scores)

    def side_by_side(self, cores: int) -> AbstractContextManager[tuple[int, Callable[[], None]]]:
        """Two: while one batch is run, the next one is normalised and stacked."""
        return nullcontext((_RUNNING, _nothing))

    def features(self, rows: NDArray[np.float32]) -> Answers:
        """Answers for features."""
        if self._file.metadata.input != "features":
            raise UlfineError(f"{self._file.path} takes images, not features: export the run with --input features")
        return self._file.answers(rows)


class RunPredictor:
    """A run directory; see `Predictor`. The encoder is loaded when the first image comes."""

    def __init__(self, path: Path, views: str = "auto", progress: Progress = Silent()) -> None:  # noqa: B008
        from ulfine_fast.run import load_run

        self._progress = progress
        self._run = load_run(path)
        self.views = self._run.views if views == "auto" else views
        self._encoder: ClipEncoder | None = None
        self.class_names = self._run.class_names
        self.device = "cpu (torch)"
        self.weights_hash = (self._run.cache or {}).get("weights_hash", "")
        self.labelled_counts = self._run.labelled_counts
        self.takes_features = True
        self.whole_pictures = False
        self.threshold = self._run.threshold
        self.class_thresholds = self._run.class_thresholds
        self.scores_outliers = self._run.outlier_scale is not None

    def answered_prior(self) -> NDArray[np.float64]:
        """What the run's method says."""
        return self._run.answered_prior()

    def reader(self) -> Callable[[Picture], NDArray[np.uint8]]:
        """The views of a picture, uint8 (views, H, W, 3)."""
        from ulfine_cache.pictures.views import make_views

        preprocess = self._loaded().preprocess
        return lambda picture: make_views(to_picture(picture), preprocess, self.views)

    def images(self, pictures: list[NDArray[np.uint8]]) -> Answers:
        """Answers for pictures: those of the mean logits of their views."""
        features = self._loaded().encode_images(np.concatenate(pictures))
        return self.features(features.reshape(len(pictures), -1, features.shape[1]))

    @contextmanager
    def side_by_side(self, cores: int) -> Generator[tuple[int, Callable[[], None]]]:
        """One a core, with one thread each: torch's sums depend on how many threads share them."""
        import torch

        if self._loaded().device.type != "cpu":
            yield _RUNNING, _nothing
            return
        before = torch.get_num_threads()
        try:
            yield min(cores, _MOST_LANES), partial(torch.set_num_threads, 1)
        finally:
            torch.set_num_threads(before)

    def features(self, rows: NDArray[np.float32]) -> Answers:
        """Answers for features; with several views those of their mean logits."""
        probabilities = self._run.predict_proba(rows)
        logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
        return Answers(probabilities, logits, self._run.outlier_scores(rows) if self.scores_outliers else None)

    def _loaded(self) -> "ClipEncoder":
        if self._encoder is None:
            from ulfine_exports.encoders.run_encoder import encoder_of

            self._encoder = encoder_of(self._run, "give features instead of images", progress=self._progress)
        return self._encoder


def _nothing() -> None:
    pass
