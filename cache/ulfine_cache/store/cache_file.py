"""`cache.h5`: the file that users open, a view over all shards that is written last.

It holds HDF5 virtual datasets with relative file names, so the directory can be moved, and what is known about the
cache as a whole. While it is absent the cache is unfinished.
"""

import hashlib
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress
from ulfine_cache.store.datasets import (
    UNREADABLE,
    dataset,
    encode,
    open_for_reading,
    read_array,
    read_texts,
    refuse_for_the_system,
    replacing_file,
    write_array,
    write_attribute,
    write_texts,
)
from ulfine_cache.store.digest_file import digest_problem, file_sha256, recorded_sha256
from ulfine_cache.store.layout import CACHE_FILE, INDEX_FILE, SCHEMA_VERSION, SEEN, SHARDS
from ulfine_cache.store.objects.copies import size_here
from ulfine_cache.store.objects.index_file import Part
from ulfine_cache.store.objects.reading import refresh
from ulfine_cache.store.objects.writing import finish
from ulfine_cache.store.plan_file import what_is_missing
from ulfine_cache.store.seen_files import put_seen
from ulfine_cache.store.shards import Shard, damaged, numbers, open_shard, read_shard
from ulfine_cache.store.versions import version_of

_VIEWS = ("features", "path", "hash")
"""Datasets of the rows that `cache.h5` shows as a view over the shards."""


@dataclass(frozen=True)
class TextPrototypes:
    """What the text encoder said about the classes.

    Attributes:
        features: float32 (C, D), unit norm: one prototype per class.
        prompt_features: float32 (C, T, D), unit norm: one vector per prompt, or None where only the mean is known.
        prompts: C lists of T prompts; empty where unknown.
        pre: float32 (C, D_pre), unit norm: the prototypes among the features before the projection, or None.
    """

    features: npt.NDArray[np.float32]
    prompt_features: npt.NDArray[np.float32] | None = None
    prompts: Sequence[Sequence[str]] = ()
    pre: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True)
class CacheContent:
    """All of `cache.h5` that does not come from the shards.

    Attributes:
        class_names: Names by label index.
        attributes: What made the features: model, pretrained, weights_hash, preprocess (JSON), precision, views, ...
        text: The text prototypes, or None for an encoder without text.
    """

    class_names: Sequence[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    text: TextPrototypes | None = None


def write_cache_file(cache: Path, shards: Sequence[Path], content: CacheContent, *, progress: Progress) -> None:
    """Read every shard once, and write the view over them with their hashes and the fingerprint.

    Args:
        cache: The cache directory.
        shards: Its complete shards in order.
        content: Everything else.
        progress: Receives the stage "finishing" in shards.

    Raises:
        UlfineError: A shard is damaged, or the directory cannot be written.
    """
    fingerprint = _Fingerprint(content)
    table: list[tuple[int, int, str]] = []
    widths: dict[str, int] = dict.fromkeys(_VIEWS, 1)
    labels: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
    set_names: list[str] = []
    groups: list[str] = []
    # Shape of a row, for datasets whose rows are not single values.
    row_shapes: dict[str, tuple[int, ...]] = {"features": (1, 1)}
    for done, path in enumerate(shards):
        shard = read_shard(path)
        numbers(shard.features, path)
        fingerprint.add(shard)
        rows = len(shard.labels)
        row_shapes["features"] = shard.features.shape[1:]
        # A shard without rows does not hold it.
        if shard.features_pre is not None:
            row_shapes["features_pre"] = shard.features_pre.shape[1:]
        table.append((rows, size_here(path), recorded_sha256(path) or file_sha256(path)))
        labels.append(shard.labels)
        set_names += shard.set_names
        groups += shard.groups or [""] * rows
        for name, texts in (("path", shard.paths), ("hash", shard.hashes)):
            widths[name] = max(widths[name], encode(texts).dtype.itemsize)
        progress.update("finishing", done + 1, len(shards))

    with replacing_file(cache / CACHE_FILE, digest=True) as file:
        # As they are, not as views: every reader wants them, and no shard has to be read for them.
        write_array(file, "label", np.concatenate(labels).astype("<i8"))
        write_texts(file, "set", set_names)
        if any(groups):
            write_texts(file, "group", groups)
        for name in dict.fromkeys([*_VIEWS, *row_shapes]):
            counts = [rows for rows, _, _ in table]
            _write_view(file, name, cache, shards, counts, row_shapes.get(name), widths.get(name, 1))
        write_texts(file, "shard_path", [path.relative_to(cache).as_posix() for path in shards])
        write_array(file, "shard_rows", np.array([rows for rows, _, _ in table], np.int64))
        write_array(file, "shard_bytes", np.array([size for _, size, _ in table], np.int64))
        write_texts(file, "shard_sha256", [digest for _, _, digest in table])
        write_texts(file, "class_names", content.class_names)
        if content.text is not None:
            write_array(file, "text_features", content.text.features.astype(np.float32))
            if content.text.prompt_features is not None:
                write_array(file, "prompt_features", content.text.prompt_features.astype(np.float32))
            if content.text.pre is not None:
                write_array(file, "text_features_pre", content.text.pre.astype(np.float32))
            if content.text.prompts:
                flat = [prompt for prompts in content.text.prompts for prompt in prompts]
                write_array(file, "prompts", encode(flat).reshape(len(content.text.prompts), -1))
        put_seen(file, cache, shards)
        attributes = {
            "schema_version": SCHEMA_VERSION,
            "fingerprint": fingerprint.digest(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": json.dumps(library_versions(), sort_keys=True),
            **content.attributes,
        }
        if (cache / INDEX_FILE).is_file():
            attributes["index_sha256"] = file_sha256(cache / INDEX_FILE)
        for name, value in attributes.items():
            write_attribute(file, name, value)
    names = [path.relative_to(cache).as_posix() for path in shards]
    parts = [Part(name, name, size, digest, rows) for name, (rows, size, digest) in zip(names, table, strict=True)]
    finish(cache, str(attributes["fingerprint"]), parts)
    (cache / SEEN).unlink(missing_ok=True)


@dataclass(frozen=True)
class ShardTable:
    """What `cache.h5` recorded about each of the n shards.

    Attributes:
        paths: Their files.
        rows: int64 (n,).
        sizes: int64 (n,) bytes.
        sha256: n times 64 hexadecimal digits.
        version: Of the format of `cache.h5`.
    """

    paths: Sequence[Path]
    rows: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    sha256: Sequence[str]
    version: int = SCHEMA_VERSION


def read_shard_table(cache: Path) -> ShardTable:
    """Read the list of shards without touching them.

    Raises:
        UlfineError: `cache.h5` is missing, damaged, of another format version, or points out of the directory.
    """
    refresh(cache)
    path = cache / CACHE_FILE
    if not cache.exists():
        raise UlfineError(f"no cache at {cache}: `ulfine cache-features` or `ulfine import-features` makes one")
    if not path.is_file():
        if (cache / SHARDS).is_dir():
            missing = what_is_missing(cache)
            raise UlfineError(
                f"the cache {cache} is unfinished: run the command that makes it again, it goes on"
                + (f" ({missing})" if missing else "")
            )
        raise UlfineError(f"{cache} is not a cache: it has no {CACHE_FILE}")
    try:
        problem = digest_problem(path)
        if problem is not None and problem.path == path:
            raise damaged_cache_file(cache)
        with open_for_reading(path) as file:
            version = version_of(file, path)
            table = ShardTable(
                [cache / name for name in read_texts(file, "shard_path")],
                read_array(file, "shard_rows"),
                read_array(file, "shard_bytes"),
                read_texts(file, "shard_sha256"),
                version,
            )
            n_rows = dataset(file, "features").shape[0]
    except UNREADABLE as error:
        refuse_for_the_system(path, error)
        raise damaged_cache_file(cache) from error
    if not len(table.paths) == len(table.rows) == len(table.sizes) == len(table.sha256) or table.rows.sum() != n_rows:
        raise damaged_cache_file(cache)
    for shard in table.paths:
        if not shard.resolve().is_relative_to(cache.resolve()):
            raise UlfineError(f"{path} points to {shard}, outside the cache: it is not trusted")
    return table


def damaged_cache_file(cache: Path) -> UlfineError:
    """Return the error for a `cache.h5` that cannot be read."""
    return UlfineError(
        f"{cache / CACHE_FILE} is damaged: run the command that made the cache again, it keeps the shards"
    )


def library_versions() -> dict[str, str]:
    """Return the versions of what shapes a cache's numbers; packages that are absent are left out."""
    versions = {"python": platform.python_version()}
    for name in ("ulfine-fast", "torch", "open_clip_torch", "pillow", "numpy", "h5py", "faiss-cpu"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


class _Fingerprint:
    """A digest of what a cache says, whatever its shard size, time and place."""

    def __init__(self, content: CacheContent) -> None:
        attributes = content.attributes
        identity = {
            key: attributes.get(key, "") for key in ("model", "weights_hash", "preprocess", "precision", "views")
        }
        head = json.dumps({**identity, "class_names": list(content.class_names)}, sort_keys=True)
        self._features, self._labels, self._sets = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        # Count only where there is something before the projection, or are groups: other caches keep their fingerprint.
        self._features_pre, self._groups = hashlib.sha256(), hashlib.sha256()
        self._any_group = False
        self._nothing = self._features_pre.digest()
        self._head = hashlib.sha256(head.encode())
        if content.text is not None:
            self._head.update(np.ascontiguousarray(content.text.features, "<f4").tobytes())

    def add(self, shard: Shard) -> None:
        self._features.update(np.ascontiguousarray(shard.features, "<f2").tobytes())
        if shard.features_pre is not None:
            self._features_pre.update(np.ascontiguousarray(shard.features_pre, "<f2").tobytes())
        self._labels.update(np.ascontiguousarray(shard.labels, "<i8").tobytes())
        self._any_group = self._any_group or any(shard.groups)
        groups = shard.groups or [""] * len(shard.labels)
        self._groups.update("".join(f"{name}\n" for name in groups).encode("utf-8", "surrogateescape"))
        self._sets.update("".join(f"{name}\n" for name in shard.set_names).encode())

    def digest(self) -> str:
        parts = [part.digest() for part in (self._head, self._features, self._labels, self._sets)]
        if self._features_pre.digest() != self._nothing:
            parts.append(self._features_pre.digest())
        if self._any_group:
            parts.append(self._groups.digest())
        return hashlib.sha256(b"".join(parts)).hexdigest()


def _write_view(
    file: h5py.File,
    name: str,
    cache: Path,
    shards: Sequence[Path],
    rows: Sequence[int],
    row_shape: tuple[int, ...] | None,
    width: int,
) -> None:
    dtype = h5py.string_dtype("utf-8", width) if row_shape is None else np.dtype("<f2")
    row_shape = row_shape or ()
    layout = h5py.VirtualLayout(shape=(sum(rows), *row_shape), dtype=dtype)
    start = 0
    for path, count in zip(shards, rows, strict=True):
        if count:
            # The source's own dtype: fixed-length text of another length is converted by HDF5 when it is read.
            with open_shard(path) as shard:
                if name not in shard:
                    raise damaged(path)
                source_dtype = dataset(shard, name).dtype
            relative = path.relative_to(cache).as_posix()
            source = h5py.VirtualSource(relative, name, shape=(count, *row_shape), dtype=source_dtype)
            layout[start : start + count] = source
        start += count
    file.create_virtual_dataset(name, layout)
