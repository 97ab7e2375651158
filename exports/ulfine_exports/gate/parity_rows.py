"""Which rows the parity gate compares: real ones wherever they can be had."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_exports.gate.parity import BATCHES

if TYPE_CHECKING:
    from ulfine_cache.preprocess import Preprocess
    from ulfine_exports.gate.run_rows import RunRows

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


def feature_rows(rows: "RunRows") -> ParityRows:
    """Up to `MAX_FEATURES` features of the run's cache; seeded random directions where the cache is gone."""
    try:
        chosen, source = rows.sample(MAX_FEATURES)
        return ParityRows(rows.cache.features(chosen), source)
    except UlfineError as error:
        directions = np.random.default_rng(_SEED).standard_normal((64, rows.run.n_features)).astype(np.float32)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return ParityRows(directions, "synthetic rows", str(error))


def picture_rows(rows: "RunRows", preprocess: "Preprocess") -> ParityRows:
    """Up to `MAX_PICTURES` images of the run's cache, read from where they were; synthetic where they are gone."""
    try:
        chosen, source = rows.sample(MAX_PICTURES)
        pixels = [preprocess.to_pixels(picture) for _, picture in rows.pictures(chosen)]
        return ParityRows(preprocess.normalise(np.stack(pixels)), source)
    except UlfineError as error:
        from PIL import Image

        blotches = [preprocess.to_pixels(Image.fromarray(one)) for one in _blotches(*preprocess.size, MAX_PICTURES)]
        return ParityRows(preprocess.normalise(np.stack(blotches)), "synthetic rows", str(error))


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


def picture_batches(rows: "RunRows", size: tuple[int, int]) -> PictureBatches:
    """Some images of the run's cache in their own sizes, one by one, and synthetic ones of awkward sizes.

    The synthetic ones are there for the sizes that a data set may not have: to be enlarged, to be cut for their length,
    and several of one size for batches.

    Args:
        rows: Those of the run's cache.
        size: (height, width) of what the encoder takes.
    """
    height, width = size
    several = _blotches(3 * height // 2, 2 * width, max(BATCHES))
    odd = ((height // 2 + 1, width // 3 + 1), (5 * height, 3 * width + 1), (20 * height, width // 4 + 1), size)
    synthetic = [several[:count] for count in BATCHES]
    synthetic += [_blotches(max(1, tall), max(1, wide), 1) for tall, wide in odd]
    count = len(several) + len(odd)
    try:
        chosen, source = rows.sample(MAX_WHOLE_PICTURES)
        real = [np.asarray(picture) for _, picture in rows.pictures(chosen)]
    except UlfineError as error:
        return PictureBatches(tuple(synthetic), count, "synthetic rows", str(error))
    batches = (*(picture[None] for picture in real), *synthetic)
    return PictureBatches(batches, len(real) + count, f"{source} and synthetic rows")


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
