"""Labelled rows on which two versions of a graph are compared, and rows to calibrate on: real ones, or none."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.cached_images import source_reader

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_exports.metadata import InputKind
    from ulfine_fast.run import Run

MAX_FEATURES = 20_000
MAX_PICTURES = 1000
"""Rows that are judged, spread evenly over all there are: an encoder runs on each of them several times."""

MAX_CALIBRATION = 64
"""Rows that are calibrated on; only the smallest and largest activation is kept of them."""

BATCH = 32

_FEATURES_BATCH = 512


@dataclass(frozen=True)
class JudgedRows:
    """Rows of a run's cache, as a graph takes them.

    Attributes:
        input: What the graph takes.
        cache: Where they are from.
        judged: int64 (n,) rows with known classes.
        calibration: int64 (m,) rows to calibrate on, labelled ones.
        source: What the judged rows are: ``"test rows"``, or ``"labelled rows"`` where there are no test rows.
        read: Gives the bytes of the image of a row; not called for features.
    """

    input: "InputKind"
    cache: "FeatureCache"
    judged: NDArray[np.int64]
    calibration: NDArray[np.int64]
    source: str
    read: Callable[[int], bytes]

    def batches(self) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Batches for the graph and the true classes of their rows; images that cannot be read are left out."""
        yield from self._read(self.judged)

    def calibration_batches(self) -> Iterator[NDArray[Any]]:
        """Batches for the graph."""
        return (batch for batch, _ in self._read(self.calibration))

    def _read(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        size = _FEATURES_BATCH if self.input == "features" else BATCH
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            if self.input == "features":
                yield self.cache.features(part), self.cache.labels[part]
            else:
                yield from self._pictures(part)

    def _pictures(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Images read again from where they were: one batch of pixels, or every picture as it is."""
        from ulfine_cache.pictures.pixels import decode
        from ulfine_cache.preprocess import Preprocess

        preprocess = Preprocess.from_json(self.cache.attributes["preprocess"])
        pixels, readable = [], []
        for row in rows:
            try:
                picture = decode(self.read(row))
            except (OSError, UlfineError):
                continue
            if self.input == "image":
                yield np.asarray(picture)[None], self.cache.labels[[row]]
            else:
                pixels.append(preprocess.to_pixels(picture))
                readable.append(row)
        if pixels:
            yield preprocess.normalise(np.stack(pixels)), self.cache.labels[readable]


def judged_rows(run: "Run", input: "InputKind") -> JudgedRows:
    """Choose the rows: test rows of the run's split; the labelled rows, which flatter a run, where there are none.

    Raises:
        UlfineError: The cache or its images are gone.
    """
    from ulfine_fast.evaluate import open_cache_of

    cache = open_cache_of(run)
    try:
        split = cache.read_split(run.config.get("split"))
    except UlfineError:
        # Deleted since.
        split = cache.read_split(None)
    limit = MAX_FEATURES if input == "features" else MAX_PICTURES
    known = np.flatnonzero(cache.labels >= 0)
    labelled = split.labelled if len(split.labelled) else known
    judged, source = (split.test, "test rows") if len(split.test) else (labelled, "labelled rows")
    judged, calibration = _spread(judged, limit), _spread(labelled, MAX_CALIBRATION)
    remedy = "what a lower precision costs cannot be measured: bring them back, or export with --precision fp32"
    try:
        read = _no_images if input == "features" else source_reader(cache, [*judged, *calibration])
    except UlfineError as error:
        raise UlfineError(f"the images of the cache {cache.path} are gone ({error}), so {remedy}") from error
    rows = JudgedRows(input, cache, judged, calibration, source, read)
    if not len(judged) or next(rows.batches(), None) is None or next(rows.calibration_batches(), None) is None:
        raise UlfineError(f"the images of the cache {cache.path} are gone, so {remedy}")
    return rows


def _no_images(row: int) -> bytes:
    raise FileNotFoundError(row)


def _spread(rows: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    return rows[np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(np.int64)]
