"""Labelled rows on which two versions of a graph are compared, and rows to calibrate on: real ones, or none."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_exports.gate.run_rows import RunRows
    from ulfine_exports.metadata import InputKind

MAX_FEATURES = 20_000
MAX_PICTURES = 1000
"""Rows that are judged, evenly spaced over all there are: an encoder runs on each of them several times."""

MAX_CALIBRATION = 64
"""Rows that are calibrated on; only the smallest and largest activation is kept of them."""

BATCH = 32

_FEATURES_BATCH = 512


@dataclass(frozen=True)
class JudgedRows:
    """Rows of a run's cache, as a graph takes them.

    Attributes:
        input: What the graph takes.
        rows: Where they are from.
        judged: int64 (n,) rows with known classes.
        calibration: int64 (m,) rows to calibrate on, labelled ones.
        source: What the judged rows are: ``"test rows"``, or ``"labelled rows"`` where there are no test rows.
    """

    input: "InputKind"
    rows: "RunRows"
    judged: NDArray[np.int64]
    calibration: NDArray[np.int64]
    source: str

    @property
    def cache(self) -> "FeatureCache":
        """The cache that the rows are of."""
        return self.rows.cache

    def batches(self) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """Batches for the graph and the true classes of their rows; images that cannot be read are left out."""
        yield from self._read(self.judged)

    def calibration_batches(self) -> Iterator[NDArray[Any]]:
        """Batches for the graph."""
        return (batch for batch, _ in self._read(self.calibration))

    def _read(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        if self.input == "features":
            for first in range(0, len(rows), _FEATURES_BATCH):
                part = rows[first : first + _FEATURES_BATCH]
                yield self.cache.features(part), self.cache.labels[part]
        elif self.input == "image":
            for row, picture in self.rows.pictures(rows):
                yield np.asarray(picture)[None], self.cache.labels[[row]]
        else:
            yield from self._pixels(rows)

    def _pixels(self, rows: NDArray[np.int64]) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        from ulfine_cache.pictures.joined_preprocess import read_preprocess

        preprocess = read_preprocess(self.cache.attributes["preprocess"])
        pixels = ((row, preprocess.to_pixels(picture)) for row, picture in self.rows.pictures(rows))
        while batch := list(islice(pixels, BATCH)):
            readable, arrays = zip(*batch, strict=True)
            yield preprocess.normalise(np.stack(arrays)), self.cache.labels[list(readable)]


def judged_rows(rows: "RunRows", input: "InputKind") -> JudgedRows:
    """Choose the rows: test rows of the run's split; the labelled rows, which flatter a run, where there are none.

    Raises:
        UlfineError: The cache or its images are gone, or it knows no class of a row.
    """
    try:
        chosen, source = rows.sample(MAX_FEATURES if input == "features" else MAX_PICTURES)
        found = JudgedRows(input, rows, chosen, rows.labelled(MAX_CALIBRATION), source)
        if not len(found.calibration):
            raise UlfineError(f"the cache {rows.cache.path} holds no labelled rows")
        # One batch of each: what is gone shows now, before the long work begins.
        next(found.batches())
        next(found.calibration_batches())
    except UlfineError as error:
        raise UlfineError(
            f"{error}, so what a lower precision costs cannot be measured: bring them back, or export with "
            "--precision fp32"
        ) from error
    return found
