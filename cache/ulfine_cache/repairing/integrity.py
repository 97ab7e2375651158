"""What is damaged in a cache: bytes first, against every digest; what they mean only where the bytes are sound."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

import numpy as np

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Progress
from ulfine_cache.remote.failures import StorageError
from ulfine_cache.remote.places import url_of
from ulfine_cache.search.index import read_index
from ulfine_cache.splitting.split_file import split_names, split_path
from ulfine_cache.store.cache_file import ShardTable, damaged_cache_file, read_shard_table
from ulfine_cache.store.datasets import UNREADABLE, open_for_reading
from ulfine_cache.store.digest_file import DIGEST, digest_path, digest_problem, file_sha256, recorded_sha256, remember
from ulfine_cache.store.layout import CACHE_FILE, INDEX_FILE, LOCK_FILE, PLAN, PREPARING_FILE, SEEN, SKIPPED_FILE
from ulfine_cache.store.objects.copies import bring
from ulfine_cache.store.objects.reading import refresh
from ulfine_cache.store.shards import read_shard, read_skipped
from ulfine_cache.store.skipped import write_skipped
from ulfine_cache.wording.counts import amount, subject

Part = Literal["cache file", "digest", "shard", "index", "skipped", "split"]

_OTHER_BYTES = "its bytes differ from those that were written (SHA-256)"
_MISSING = "is missing"
_NORM_TOLERANCE = 2e-3
"""float16 moves the norm of a unit vector by at most 2^-11, about 5e-4."""
_ROWS = 4096
"""Rows whose norms are computed together."""


class Problem(NamedTuple):
    """One damaged file.

    Attributes:
        part: Which part of the cache it is, and so how it may be repaired.
        path: The file.
        reason: What is wrong with it.
    """

    part: Part
    path: Path
    reason: str


def find_problems(cache: Path, *, progress: Progress) -> list[Problem]:
    """Read a cache completely and say what is damaged.

    Whatever a library parses without a checksum of its own (HDF5's bookkeeping, a FAISS index) is compared with its
    SHA-256 first, so that damage cannot crash the reader.

    Args:
        cache: The cache directory.
        progress: Receives the stage "verifying" in shards.

    Returns:
        The damaged files, in the order cache.h5, shards, skipped.csv, index, splits; empty if all is well.

    Raises:
        UlfineError: There is no cache, it is unfinished, or of another format version.
    """
    refresh(cache, anew=True)
    path = cache / CACHE_FILE
    problem = _digest_problem("cache file", path) if path.is_file() else None
    if problem is not None and problem.part == "cache file":
        return [problem]
    problems = [] if problem is None else [problem]
    table = read_shard_table(cache)
    for number, (shard, digest) in enumerate(zip(table.paths, table.sha256, strict=True)):
        found = [Problem("shard", shard, problem) for problem in _shard_problems(shard, digest)]
        problems += found
        if not found and table.version > 1 and recorded_sha256(shard) != digest:
            problems.append(Problem("digest", digest_path(shard), "does not say what the shard is known by"))
        progress.update("verifying", number + 1, len(table.paths))
    attributes = read_attributes(cache)
    if not any(problem.part == "shard" for problem in problems):
        problems += _skipped_problems(cache, table)
    problems += _index_problems(cache, attributes)
    splits = [split_path(cache, name) for name in split_names(cache)]
    problems += [found for split in splits if (found := _digest_problem("split", split))]
    if all(problem.part in ("digest", "skipped") for problem in problems):
        problems += _meaning_problems(FeatureCache.open(cache, checked=False))
    return problems


def read_attributes(cache: Path) -> dict[str, str]:
    """Return the textual attributes of a sound `cache.h5`, without looking at the shards.

    Raises:
        UlfineError: It cannot be read.
    """
    try:
        with open_for_reading(cache / CACHE_FILE) as file:
            return {name: value for name, value in file.attrs.items() if isinstance(value, str)}
    except UNREADABLE as error:
        raise damaged_cache_file(cache) from error


def foreign_files(cache: Path) -> list[str]:
    """Return the names of files in the directory that are not part of the cache, sorted, relative to it.

    Among them may be what an interrupted command left: `*.partial` and the folder `.repair` may be deleted.

    Raises:
        UlfineError: `cache.h5` cannot be read.
    """
    own = {CACHE_FILE, CACHE_FILE + DIGEST, SKIPPED_FILE, LOCK_FILE, PREPARING_FILE, PLAN, SEEN}
    if read_attributes(cache).get("index", "none") != "none":
        own.add(INDEX_FILE)
    splits = (split_path(cache, name) for name in split_names(cache))
    for part in (*read_shard_table(cache).paths, *splits):
        own.update(path.relative_to(cache).as_posix() for path in (part, digest_path(part)))
    if url_of(cache) is not None:
        return []  # what is beside it on the storage is not looked at
    found = (path.relative_to(cache).as_posix() for path in cache.rglob("*") if not path.is_dir())
    return sorted(set(found) - own)


def _digest_problem(part: Part, path: Path) -> Problem | None:
    try:
        found = digest_problem(path)
    except OSError as error:
        return Problem(part, path, f"cannot be read: {reason(error)}")
    if found is None:
        return None
    if found.path != path:
        return Problem("digest", found.path, found.reason)
    # The one file that a repair cannot make again.
    remedy = ": delete it and draw it again with `ulfine split`" if part == "split" else ""
    return Problem(part, path, found.reason + remedy)


def _shard_problems(path: Path, digest: str) -> Sequence[str]:
    try:
        bring(path, checked=False)
        if file_sha256(path) != digest:
            return [_OTHER_BYTES]
        remember(path)
        features = read_shard(path).features
    except FileNotFoundError:
        return [_MISSING]
    except OSError as error:
        return [f"cannot be read: {reason(error)}"]
    except StorageError:
        raise
    except UlfineError:
        return ["HDF5 cannot read it"]
    infinite = wrong = 0
    for start in range(0, len(features), _ROWS):
        norms = np.linalg.norm(features[start : start + _ROWS].astype(np.float32), axis=2)
        infinite += int((~np.isfinite(norms)).any(axis=1).sum())
        wrong += int((np.abs(norms - 1) > _NORM_TOLERANCE).any(axis=1).sum())
    if infinite:
        return [f"{subject(infinite, 'row', 'holds/hold')} NaN or infinity"]
    return [f"{subject(wrong, 'row', 'is/are')} not of unit norm"] if wrong else []


def _skipped_problems(cache: Path, table: ShardTable) -> Iterator[Problem]:
    path = cache / SKIPPED_FILE
    with TemporaryDirectory() as scratch:
        write_skipped(Path(scratch), (row for shard in table.paths for row in read_skipped(shard)))
        expected = file_sha256(Path(scratch) / SKIPPED_FILE)
    try:
        if file_sha256(path) != expected:
            yield Problem("skipped", path, "does not say what the shards say")
    except FileNotFoundError:
        yield Problem("skipped", path, _MISSING)
    except OSError as error:
        yield Problem("skipped", path, f"cannot be read: {reason(error)}")


def _index_problems(cache: Path, attributes: dict[str, str]) -> Iterator[Problem]:
    if attributes.get("index", "none") == "none":
        return
    path = cache / INDEX_FILE
    try:
        bring(path, checked=False)
        actual = file_sha256(path)
        if attributes.get("index_sha256", actual) != actual:
            yield Problem("index", path, _OTHER_BYTES)
    except FileNotFoundError:
        yield Problem("index", path, _MISSING)
    except OSError as error:
        yield Problem("index", path, f"cannot be read: {reason(error)}")


def _meaning_problems(cache: FeatureCache) -> Iterator[Problem]:
    """Contradictions between files whose bytes are as they were written."""
    whole = cache.path / CACHE_FILE
    text = cache.text_features
    if text is not None and not np.allclose(np.linalg.norm(text, axis=1), 1, atol=1e-4):
        yield Problem("cache file", whole, "text prototypes are not of unit norm")
    if text is not None and len(text) != cache.n_classes:
        yield Problem(
            "cache file", whole, f"{amount(len(text), 'text prototype')} for {amount(cache.n_classes, 'class')}"
        )
    if cache.labels.max(initial=-1) >= cache.n_classes or cache.labels.min(initial=-1) < -1:
        yield Problem("cache file", whole, "labels beyond the classes")
    if cache.attributes.get("index", "none") != "none":
        index = read_index(cache)
        if (index.ntotal, index.d) != (cache.n_rows, cache.n_features):
            why = f"holds {index.ntotal} x {index.d} values for {cache.n_rows} x {cache.n_features} of the cache"
            yield Problem("index", cache.path / INDEX_FILE, why)
    for name in cache.split_names():
        try:
            cache.stored_split(name)
        except UlfineError as error:
            yield Problem("split", split_path(cache.path, name), str(error))
