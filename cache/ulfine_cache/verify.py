"""`ulfine verify`: read a cache completely and say what is damaged."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ulfine_cache.atomic import reason
from ulfine_cache.cache_file import CACHE_FILE, read_shard_table
from ulfine_cache.config import StrictConfig
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.index import INDEX_FILE, read_index
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.shards import file_sha256, read_shard
from ulfine_cache.splits import SPLITS

_NORM_TOLERANCE = 2e-3
"""float16 moves the norm of a unit vector by at most 2^-11, about 5e-4."""


class VerifyConfig(StrictConfig):
    """The parameters of `verify`."""

    cache: Path


def verify(*, cache: Path, progress: Progress = Silent()) -> dict[str, Any]:  # noqa: B008
    """Read every dataset of a cache and compare every checksum.

    Checked are: each shard's SHA-256 against the one in `cache.h5` (a flipped bit anywhere in the file), HDF5's own
    checksums, that features are finite and of unit norm, that `cache.h5` is readable as a whole and its splits belong
    to it, and that the index holds the cache's rows and has the SHA-256 that it was written with.

    Args:
        cache: The cache directory.
        progress: Receives the stage "verifying" in shards.

    Returns:
        Figures: cache, rows, shards, bytes, damaged (list of {"path", "reason"}, empty if all is well), and where the
        shards are sound splits and index.

    Raises:
        UlfineError: There is no cache that could be opened at all.

    Example:
        >>> verify(cache=Path("photos-cache"))["damaged"]  # doctest: +SKIP
        []
    """
    config = VerifyConfig.checked(cache=cache)
    # Not through FeatureCache.open: that stops at the first damaged file.
    table = read_shard_table(config.cache)
    damaged: list[dict[str, str]] = []
    for number, (path, digest) in enumerate(zip(table.paths, table.sha256, strict=True)):
        damaged += _named(path, _shard_problems(path, digest))
        progress.update("verifying", number + 1, len(table.paths))
    figures: dict[str, Any] = {
        "cache": str(config.cache),
        "rows": int(table.rows.sum()),
        "shards": len(table.paths),
        "bytes": int(table.sizes.sum()),
    }
    if damaged:
        return figures | {"damaged": damaged}
    try:
        opened = FeatureCache.open(config.cache)
    except UlfineError as error:
        return figures | {"damaged": _named(config.cache / CACHE_FILE, [str(error)])}
    damaged += _named(opened.path / CACHE_FILE, _cache_file_problems(opened))
    damaged += _named(opened.path / INDEX_FILE, _index_problems(opened))
    for name in opened.split_names():
        damaged += _named(opened.path / SPLITS / f"{name}.h5", _split_problems(opened, name))
    return figures | {
        "splits": len(opened.split_names()),
        "index": str(opened.attributes.get("index", "none")),
        "damaged": damaged,
    }


def _named(path: Path, problems: list[str]) -> list[dict[str, str]]:
    return [{"path": str(path), "reason": problem} for problem in problems]


def _shard_problems(path: Path, digest: str) -> list[str]:
    try:
        if file_sha256(path) != digest:
            return ["its bytes differ from those that were written (SHA-256)"]
        features = read_shard(path).features.astype(np.float32)
    except OSError as error:
        return [f"cannot be read: {reason(error)}"]
    except UlfineError:
        return ["HDF5 cannot read it"]
    norms = np.linalg.norm(features, axis=2)
    if not np.isfinite(norms).all():
        return [f"{int((~np.isfinite(norms)).any(axis=1).sum())} rows hold NaN or infinity"]
    if (np.abs(norms - 1) > _NORM_TOLERANCE).any():
        return [f"{int((np.abs(norms - 1) > _NORM_TOLERANCE).any(axis=1).sum())} rows are not of unit norm"]
    return []


def _cache_file_problems(cache: FeatureCache) -> list[str]:
    problems = []
    try:
        with h5py.File(cache.path / CACHE_FILE, "r") as file:
            for name, entry in file.items():
                # The shards have been read already.
                if isinstance(entry, h5py.Dataset) and name != "features":
                    entry[()]
    except (OSError, RuntimeError):
        problems.append("HDF5 cannot read it: delete it and run the command that made the cache again")
    text = cache.text_features
    if text is not None and not np.allclose(np.linalg.norm(text, axis=1), 1, atol=1e-4):
        problems.append("text prototypes are not of unit norm")
    if text is not None and len(text) != cache.n_classes:
        problems.append(f"{len(text)} text prototypes for {cache.n_classes} classes")
    if cache.labels.max(initial=-1) >= cache.n_classes or cache.labels.min(initial=-1) < -1:
        problems.append("labels beyond the classes")
    return problems


def _index_problems(cache: FeatureCache) -> list[str]:
    if cache.attributes.get("index", "none") == "none":
        return []
    try:
        index = read_index(cache)
    except UlfineError as error:
        return [str(error)]
    if (index.ntotal, index.d) != (cache.n_rows, cache.n_features):
        return [f"holds {index.ntotal} x {index.d} values for {cache.n_rows} x {cache.n_features} of the cache"]
    digest = cache.attributes.get("index_sha256")
    if digest is not None and file_sha256(cache.path / INDEX_FILE) != digest:
        return ["its bytes differ from those that were written (SHA-256)"]
    return []


def _split_problems(cache: FeatureCache, name: str) -> list[str]:
    try:
        cache.read_split(name)
    except UlfineError as error:
        return [str(error)]
    return []
