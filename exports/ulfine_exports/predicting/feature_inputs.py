"""Features to classify, in blocks: from a cache directory or an `.npz` file. No torch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.arrays.npz_headers import UNREADABLE, loaded_array, told
from ulfine_cache.sources.trees.regular_file import open_regular
from ulfine_cache.wording.counts import amount
from ulfine_fast.judging.five_crops import FIVE_CROPS

BLOCK = 8192
"""Rows classified at a time."""

Block = tuple[list[str], NDArray[np.float32]]


@dataclass(frozen=True)
class _Opened:
    """Rows of features: their names, how to read some of one view, how many views there are and of which recipe."""

    names: list[str]
    read: Callable[[NDArray[np.int64], int], NDArray[np.float32]]
    n_views: int
    recipe: str


def is_features(path: Path) -> bool:
    """Whether an input holds features rather than images: a cache directory or an ``.npz`` file."""
    return path.suffix.lower() == ".npz" or (path / "cache.h5").is_file()


def feature_blocks(path: Path, weights_hash: str, views: str = "center", *, strict: bool = False) -> Iterator[Block]:
    """Read names and features block by block.

    A cache gives all its rows. An ``.npz`` file gives its array ``features``, (N, D) or (N, views, D), with the names
    in ``paths`` or else row numbers; ``views`` says what the views are. Of several views the first is given, or all
    five.

    Args:
        path: A cache directory or an ``.npz`` file.
        weights_hash: The encoder that the features must come from; ``""`` where that is unknown.
        views: ``"center"``, the first view; ``"five-crop"``: all five crops where they are there.
        strict: Refuse an input that does not hold these views, instead of giving its first view.

    Yields:
        n names and float32 (n, D), or (n, 5, D) for five crops, n of at most `BLOCK`.

    Raises:
        UlfineError: The file cannot be read, the features come from another encoder, or there are no five crops.
    """
    opened = _open_npz(path) if path.suffix.lower() == ".npz" else _open_cache(path, weights_hash)
    five = views == FIVE_CROPS and opened.n_views == 5 and (opened.recipe == views or (strict and not opened.recipe))
    if strict and views == FIVE_CROPS and not five:
        raise UlfineError(
            f"{path} holds no five crops of its images: make a cache with `ulfine cache-features --views {views}`, or "
            "pass --views center"
        )
    for start in range(0, len(opened.names), BLOCK):
        names = opened.names[start : start + BLOCK]
        rows = np.arange(start, start + len(names))
        features = [opened.read(rows, view) for view in range(5 if five else 1)]
        yield names, np.stack(features, axis=1) if five else features[0]


def _open_cache(path: Path, weights_hash: str) -> _Opened:
    from ulfine_cache.feature_cache import FeatureCache

    cache = FeatureCache.open(path)
    theirs = cache.attributes.get("weights_hash", "")
    if weights_hash and theirs and weights_hash != theirs:
        raise UlfineError(
            f"{path} was made by another encoder ({cache.attributes.get('model')}) than the one this classifier was "
            "fitted on: cache the images again with that one"
        )
    return _Opened(cache.paths, cache.features, cache.n_views, str(cache.attributes.get("views", "")))


def _open_npz(path: Path) -> _Opened:
    try:
        # Opened here: numpy leaves a damaged archive open.
        with open_regular(str(path)) as opened, np.load(opened, allow_pickle=False) as file:
            if "features" not in file.files:
                raise UlfineError(f"{path} has no array 'features': save features as (N, D) under that name")
            features = loaded_array(file, "features")
            paths = np.atleast_1d(loaded_array(file, "paths")) if "paths" in file.files else None
            names = None if paths is None else [str(name) for name in paths]
            recipe = str(loaded_array(file, "views")) if "views" in file.files else ""
    except UNREADABLE as error:
        raise UlfineError(f"{path} cannot be read as an .npz file: {told(error)}") from error
    if features.ndim == 2:
        features = features[:, None]
    if features.ndim != 3 or not features.shape[1] or features.dtype.kind != "f":
        raise UlfineError(
            f"{path}: features are {features.dtype} {features.shape}, expected floating-point (N, D) or (N, views, D)"
        )
    names = [f"row {row}" for row in range(len(features))] if names is None else names
    if len(names) != len(features):
        raise UlfineError(f"{path}: {amount(len(names), 'path')} for {amount(len(features), 'row')} of features")
    return _Opened(names, lambda rows, view: features[rows, view].astype(np.float32), features.shape[1], recipe)
