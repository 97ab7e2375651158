"""Features to classify, in blocks: from a cache directory or an `.npz` file. No torch."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError

BLOCK = 8192
"""Rows classified at a time."""

Block = tuple[list[str], NDArray[np.float32]]
_Opened = tuple[list[str], Callable[[NDArray[np.int64]], NDArray[np.float32]], int]


def is_features(path: Path) -> bool:
    """Whether an input holds features rather than images: a cache directory or an ``.npz`` file."""
    return path.suffix.lower() == ".npz" or (path / "cache.h5").is_file()


def feature_blocks(path: Path, weights_hash: str) -> Iterator[Block]:
    """Read names and features block by block.

    A cache gives the first view of all its rows. An ``.npz`` file gives its array ``features``, (N, D), or the first
    view of (N, views, D), with the names in ``paths`` or else row numbers.

    Args:
        path: A cache directory or an ``.npz`` file.
        weights_hash: The encoder that the features must come from; ``""`` where that is unknown.

    Yields:
        n names and float32 (n, D), n of at most `BLOCK`.

    Raises:
        UlfineError: The file cannot be read, or the features come from another encoder.
    """
    names, read, total = _open_npz(path) if path.suffix.lower() == ".npz" else _open_cache(path, weights_hash)
    for start in range(0, total, BLOCK):
        rows = np.arange(start, min(start + BLOCK, total))
        yield names[start : start + BLOCK], read(rows)


def _open_cache(path: Path, weights_hash: str) -> _Opened:
    from ulfine_cache.feature_cache import FeatureCache

    cache = FeatureCache.open(path)
    theirs = cache.attributes.get("weights_hash", "")
    if weights_hash and theirs and weights_hash != theirs:
        raise UlfineError(
            f"{path} was made by another encoder ({cache.attributes.get('model')}) than the one this classifier was "
            "fitted on: cache the images again with that one"
        )
    return cache.paths, cache.features, cache.n_rows


def _open_npz(path: Path) -> _Opened:
    try:
        with np.load(path, allow_pickle=False) as file:
            if "features" not in file.files:
                raise UlfineError(f"{path} has no array 'features': save features as (N, D) under that name")
            features = file["features"]
            names = [str(name) for name in file["paths"]] if "paths" in file.files else None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UlfineError(f"{path} cannot be read as an .npz file: {str(error).splitlines()[0]}") from error
    if features.ndim == 3 and features.shape[1]:
        features = features[:, 0]
    if features.ndim != 2 or features.dtype.kind != "f":
        raise UlfineError(f"{path}: features are {features.dtype} {features.shape}, expected floating-point (N, D)")
    names = [f"row {row}" for row in range(len(features))] if names is None else names
    if len(names) != len(features):
        raise UlfineError(f"{path}: {len(names)} paths for {len(features)} rows of features")
    return names, lambda rows: features[rows].astype(np.float32), len(features)
