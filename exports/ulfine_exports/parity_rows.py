"""Which rows the parity gate compares: real ones wherever they can be had."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.preprocess import Preprocess
    from ulfine_fast.run import Run

MAX_FEATURES = 512
MAX_PICTURES = 16
"""Enough for every batch size; a large encoder needs about a second for each on a small machine, twice."""

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
        return ParityRows(preprocess.normalise(np.stack(_synthetic(preprocess))), "synthetic rows", str(error))


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
    """Read the images that still are there; at least one must be."""
    from ulfine_exports.pictures import to_pixels

    pictures = []
    for path in paths:
        try:
            pictures.append(to_pixels(path, preprocess))
        except UlfineError:
            continue
    if not pictures:
        raise UlfineError(f"the images of the cache, such as {paths[0]}, are gone")
    return pictures


def _synthetic(preprocess: "Preprocess") -> list[NDArray[np.uint8]]:
    """Seeded colour blotches: smooth, as photographs are, where plain noise would average out inside an encoder."""
    from PIL import Image

    random = np.random.default_rng(_SEED)
    height, width = preprocess.size
    return [
        np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        for coarse in random.integers(0, 256, (MAX_PICTURES, 6, 6, 3), dtype=np.uint8)
    ]
