"""Which rows the parity gate compares: real ones wherever they can be had."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_exports.gate.parity import BATCHES

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.preprocess import Preprocess
    from ulfine_fast.run import Run

MAX_FEATURES = 512
MAX_PICTURES = 16
"""Enough for every batch size; a large encoder needs about a second for each on a small machine, twice."""

MAX_WHOLE_PICTURES = 8
"""For `picture_batches`, which adds eleven synthetic ones."""

_SEED = 0


@dataclass(frozen=True)
class ParityRows:
    """Rows to compare.

    Attributes:
        rows: float32 (n, D) features or (n, 3, H, W) normalised pixels.
        source: What they are: ``"test rows"``, ``"labelled rows"``, ``"rows of the cache"`` or ``"synthetic rows"``.
        obstacle: Why the rows are synthetic, in one line; ``""`` for real ones.
    """

    rows: NDArray[np.float32]
    source: str
    obstacle: str = ""


def feature_rows(run: "Run") -> ParityRows:
    """Up to `MAX_FEATURES` features of the run's cache; seeded random directions where the cache is gone."""
    try:
        cache = _open_cache(run)
        indices, source = _choose(run, cache, MAX_FEATURES)
        return ParityRows(cache.features(indices), source)
    except UlfineError as error:
        rows = np.random.default_rng(_SEED).standard_normal((64, run.n_features)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return ParityRows(rows, "synthetic rows", str(error))


def picture_rows(run: "Run", preprocess: "Preprocess") -> ParityRows:
    """Up to `MAX_PICTURES` images of the run's cache, read from where they were; synthetic where they are gone."""
    try:
        cache = _open_cache(run)
        indices, source = _choose(run, cache, MAX_PICTURES)
        pictures = _read([Path(cache.attributes["source"]) / cache.paths[index] for index in indices], preprocess)
        return ParityRows(preprocess.normalise(np.stack(pictures)), source)
    except UlfineError as error:
        return ParityRows(preprocess.normalise(_blotches(*preprocess.size, MAX_PICTURES)), "synthetic rows", str(error))


@dataclass(frozen=True)
class PictureBatches:
    """Pictures of many sizes to compare, as they are, before any preprocessing.

    Attributes:
        batches: uint8 (n, height, width, 3) each.
        rows: Number of different pictures in them.
        source: What they are.
        obstacle: Why all of them are synthetic, in one line; ``""`` otherwise.
    """

    batches: tuple[NDArray[np.uint8], ...]
    rows: int
    source: str
    obstacle: str = ""


def picture_batches(run: "Run", size: tuple[int, int]) -> PictureBatches:
    """Some images of the run's cache in their own sizes, one by one, and synthetic ones of awkward sizes.

    The synthetic ones are there for the sizes that a data set may not have: to be enlarged, to be cut for their length,
    and several of one size for batches.

    Args:
        run: A loaded run.
        size: (height, width) of what the encoder takes.
    """
    height, width = size
    several = _blotches(3 * height // 2, 2 * width, max(BATCHES))
    odd = ((height // 2 + 1, width // 3 + 1), (5 * height, 3 * width + 1), (20 * height, width // 4 + 1), size)
    synthetic = [several[:count] for count in BATCHES]
    synthetic += [_blotches(max(1, rows), max(1, columns), 1) for rows, columns in odd]
    count = len(several) + len(odd)
    try:
        cache = _open_cache(run)
        indices, source = _choose(run, cache, MAX_WHOLE_PICTURES)
        real = _decode([Path(cache.attributes["source"]) / cache.paths[index] for index in indices])
    except UlfineError as error:
        return PictureBatches(tuple(synthetic), count, "synthetic rows", str(error))
    batches = (*(picture[None] for picture in real), *synthetic)
    return PictureBatches(batches, len(real) + count, f"{source} and synthetic rows")


def _open_cache(run: "Run") -> "FeatureCache":
    from ulfine_fast.evaluate import open_cache_of

    if run.cache is None:
        raise UlfineError(f"the run {run.path} was not fitted on a cache")
    if not Path(run.cache["path"]).exists():
        raise UlfineError(f"the cache {run.cache['path']} is gone")
    return open_cache_of(run)


def _choose(run: "Run", cache: "FeatureCache", limit: int) -> tuple[NDArray[np.int64], str]:
    """Rows spread evenly over the test rows; over the labelled ones, then over all, where there are none."""
    try:
        split = cache.read_split(run.config.get("split"))
    except UlfineError:
        # Drawn anew or deleted since: any row of the cache is as real.
        split = cache.read_split(None)
    for rows, source in ((split.test, "test rows"), (split.labelled, "labelled rows")):
        if len(rows):
            return _spread(rows, limit), source
    return _spread(np.arange(cache.n_rows), limit), "rows of the cache"


def _spread(rows: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    return rows[np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(np.int64)]


def _read(paths: Sequence[Path], preprocess: "Preprocess") -> list[NDArray[np.uint8]]:
    """Read the images that still are there, as pixels; at least one must be."""
    from ulfine_exports.inference.pictures import to_pixels

    return _those_there(paths, lambda path: to_pixels(path, preprocess))


def _decode(paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    """Read the images that still are there, in their own sizes; at least one must be."""
    from ulfine_exports.inference.pictures import to_array

    return _those_there(paths, to_array)


def _those_there(paths: Sequence[Path], read: Callable[[Path], NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    pictures = []
    for path in paths:
        try:
            pictures.append(read(path))
        except UlfineError:
            continue
    if not pictures:
        raise UlfineError(f"the images of the cache, such as {paths[0]}, are gone")
    return pictures


def _blotches(height: int, width: int, count: int) -> NDArray[np.uint8]:
    """Seeded colour blotches: smooth, as photographs are, where plain noise would average out inside an encoder."""
    from PIL import Image

    random = np.random.default_rng(_SEED)
    return np.stack(
        [
            np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
            for coarse in random.integers(0, 256, (count, 6, 6, 3), dtype=np.uint8)
        ]
    )
