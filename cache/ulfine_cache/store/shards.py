"""One shard: the features of one block of images, in one HDF5 file that is complete whenever it exists.

The layout is specified in `cache/README.md`. Nothing in a shard depends on the time or on the place where it was
written, so the same block gives the same bytes.
"""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.store.datasets import (
    CHUNK_ROWS,
    UNREADABLE,
    dataset,
    open_for_reading,
    read_array,
    read_texts,
    refuse_for_the_system,
    replacing_file,
    write_array,
    write_texts,
)
from ulfine_cache.store.digest_file import check_once
from ulfine_cache.store.layout import SCHEMA_VERSION, SHARDS
from ulfine_cache.store.objects.copies import bring, is_given_up
from ulfine_cache.store.objects.writing import put_shard
from ulfine_cache.store.versions import request_of, set_dataset, version_of

_NO_NUMBER = np.uint16(0x7C00)
"""Bits of a float16 that are all set in infinity and in NaN alone."""


@dataclass(frozen=True)
class Shard:
    """The content of one shard.

    Attributes:
        features: float16 (n, views, D), unit norm.
        labels: int64 (n,), -1 = unlabelled.
        paths: n names of the inputs, relative to the source.
        set_names: n times "", "train", "val" or "test".
        hashes: n times 32 hexadecimal digits: the first half of the SHA-256 of the input's bytes.
        skipped: (path, reason) of the inputs of this block that have no row.
        stamps: n times 32 hexadecimal digits that stay the same while a file keeps its name, size and time of change;
            empty where rows do not come from files.
        listing: Digest of the block's inputs as they were listed, to notice a changed source.
        request: What the whole cache was asked to hold; the same in all of its shards.
        groups: n names of what images have in common, "" where nothing is said; empty where nothing is said of any.
        features_pre: float16 (n, views, D_pre), unit norm: before the encoder's projection; None where not asked for,
            and in a shard without rows.
    """

    features: npt.NDArray[np.float16]
    labels: npt.NDArray[np.int64]
    paths: Sequence[str]
    set_names: Sequence[str]
    hashes: Sequence[str]
    skipped: Sequence[tuple[str, str]] = ()
    stamps: Sequence[str] = ()
    listing: str = ""
    request: dict[str, Any] = field(default_factory=dict)
    features_pre: npt.NDArray[np.float16] | None = None
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class ShardHeader:
    """What is known about a shard without reading its features."""

    path: Path
    n_rows: int
    n_views: int
    n_features: int
    listing: str
    request: dict[str, Any]


def shard_path(cache: Path, number: int) -> Path:
    """Return the file name of shard `number` (counted from 0) of a cache directory."""
    return cache / SHARDS / f"{number:05d}.h5"


def content_hash(data: bytes) -> str:
    """Return the 32 hexadecimal digits by which an input's bytes are known."""
    return hashlib.sha256(data).hexdigest()[:32]


class _SameIsThere(Exception):
    """Another process has written the shard in the meantime."""


def write_shard(path: Path, shard: Shard, *, keep_same: bool = False) -> None:
    """Write a shard and its digest file atomically, every dataset checksummed with fletcher32.

    Args:
        path: Its file.
        shard: What is in it.
        keep_same: Leave a file alone that is already there for the same listing and request: of several processes that
            make one shard the first one wins, and no file that somebody reads is replaced.

    Raises:
        UlfineError: The directory cannot be written or the disk is full; or its path stands for one on a storage that
            cannot be used, or where another process writes other shards.
    """
    with contextlib.suppress(_SameIsThere):
        _write_shard(path, shard, keep_same)


def _write_shard(path: Path, shard: Shard, keep_same: bool) -> None:
    with replacing_file(path, digest=True) as file:
        # Asked while the name is held, so no other process writes it between the question and the answer.
        if keep_same and _is_same(path, shard):
            raise _SameIsThere
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["listing"] = np.bytes_(shard.listing)
        file.attrs["request"] = np.bytes_(json.dumps(shard.request, sort_keys=True))
        write_array(file, "features", shard.features)
        if shard.features_pre is not None:
            write_array(file, "features_pre", shard.features_pre)
        write_array(file, "label", shard.labels)
        write_texts(file, "path", shard.paths)
        write_texts(file, "set", shard.set_names)
        write_texts(file, "hash", shard.hashes)
        if shard.stamps:
            write_texts(file, "stamp", shard.stamps)
        if any(shard.groups):
            write_texts(file, "group", shard.groups)
        write_texts(file, "skipped_path", [path for path, _ in shard.skipped])
        write_texts(file, "skipped_reason", [why for _, why in shard.skipped])
    if not put_shard(path):
        there = read_header(path)
        if (there.listing, there.request) != (shard.listing, shard.request):
            raise UlfineError(
                f"another process is writing other images or features to {path}: wait until it has finished, or choose "
                "another --out"
            )


def _is_same(path: Path, shard: Shard) -> bool:
    if not path.exists():
        return False
    try:
        header = read_header(path)
    except UlfineError:
        return False
    return header.listing == shard.listing and header.request == shard.request


def read_header(path: Path, *, checked: bool = True) -> ShardHeader:
    """Read what a shard says about itself; `checked` as in `open_shard`.

    Raises:
        UlfineError: The file is missing, damaged, or not a shard.
    """
    with open_shard(path, checked=checked) as file:
        try:
            rows, views, width = dataset(file, "features").shape
            listing = np.asarray(file.attrs["listing"]).tobytes().decode()
            request = request_of(file)
        except UNREADABLE as error:
            raise damaged(path) from error
    return ShardHeader(path, int(rows), int(views), int(width), listing, request)


def read_shard(path: Path) -> Shard:
    """Read a whole shard; HDF5 compares the checksums on the way.

    Raises:
        UlfineError: The file is missing or damaged.
    """
    header = read_header(path)
    with open_shard(path) as file:
        try:
            skipped = zip(read_texts(file, "skipped_path"), read_texts(file, "skipped_reason"), strict=True)
            return Shard(
                features=read_array(file, "features"),
                labels=read_array(file, "label"),
                paths=read_texts(file, "path"),
                set_names=read_texts(file, set_dataset(file)),
                hashes=read_texts(file, "hash"),
                skipped=list(skipped),
                stamps=read_texts(file, "stamp") if "stamp" in file else (),
                listing=header.listing,
                request=header.request,
                features_pre=read_array(file, "features_pre") if "features_pre" in file else None,
                groups=read_texts(file, "group") if "group" in file else (),
            )
        except UNREADABLE as error:
            raise damaged(path) from error


def read_features(
    path: Path, view: int | None, rows: npt.NDArray[np.int64] | None = None, *, pre_projection: bool = False
) -> npt.NDArray[np.float16]:
    """Read one view of a shard, or of some of its rows and then little more of the file than these.

    Args:
        path: The shard.
        view: Which view, None for all.
        rows: int64 (n,) rows of the shard, in rising order, each once; None reads all.
        pre_projection: Read the features from before the encoder's projection.

    Returns:
        float16 (n, D), or with `pre_projection` float16 (n, D_pre); all views are (n, views, D).

    Raises:
        UlfineError: The file is missing or damaged, or holds what is no number.
    """
    views = slice(None) if view is None else view
    with open_shard(path) as file:
        try:
            features = dataset(file, "features_pre" if pre_projection else "features")
            if rows is None:
                return numbers(features[:, views], path)
            # Gaps that hold whole chunks are left out.
            runs = np.split(rows, np.flatnonzero(np.diff(rows) > CHUNK_ROWS) + 1)
            parts = [features[run[0] : run[-1] + 1, views][run - run[0]] for run in runs]
            return numbers(parts[0] if len(parts) == 1 else np.concatenate(parts), path)
        except UNREADABLE as error:
            raise damaged(path) from error


def numbers(features: npt.NDArray[np.float16], path: Path) -> npt.NDArray[np.float16]:
    """Return features of a shard as they are, where they are numbers.

    Raises:
        UlfineError: Some are NaN or infinite, as no version writes them any more.
    """
    # By their bits: four times as fast as isfinite.
    if ((features.view(np.uint16) & _NO_NUMBER) == _NO_NUMBER).any():
        raise UlfineError(
            f"{path} holds features that are NaN or infinite: delete it and run the command that made the cache again "
            "(the other shards are kept)"
        )
    return features


def read_labels(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.str_]]:
    """Read the labels of a shard's rows, int64 (n,), and their sets, (n,) of "", "train", "val" or "test".

    Raises:
        UlfineError: The file is missing or damaged.
    """
    with open_shard(path) as file:
        try:
            return read_array(file, "label").astype(np.int64), read_array(file, set_dataset(file)).astype(np.str_)
        except UNREADABLE as error:
            raise damaged(path) from error


def read_groups(path: Path) -> list[str] | None:
    """Read the groups of a shard's rows, None where nothing is said of any.

    Raises:
        UlfineError: The file is missing or damaged.
    """
    with open_shard(path) as file:
        try:
            return read_texts(file, "group") if "group" in file else None
        except UNREADABLE as error:
            raise damaged(path) from error


def read_paths(path: Path) -> npt.NDArray[np.bytes_]:
    """Read the names of a shard's rows, as `ulfine_cache.store.datasets.encode` wrote them.

    Raises:
        UlfineError: The file is missing or damaged.
    """
    with open_shard(path) as file:
        try:
            return read_array(file, "path")
        except UNREADABLE as error:
            raise damaged(path) from error


def read_hashes(path: Path) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.bytes_]]:
    """Read the content hashes of a shard's rows, (n,) text, and the stamps of their files, empty where unknown.

    Raises:
        UlfineError: The file is missing or damaged.
    """
    with open_shard(path) as file:
        try:
            contents = read_array(file, "hash")
            return contents, read_array(file, "stamp") if "stamp" in file else np.zeros(len(contents), "S32")
        except UNREADABLE as error:
            raise damaged(path) from error


def read_skipped(path: Path, *, checked: bool = True) -> list[tuple[str, str]]:
    """Read the (path, reason) of the inputs of a shard's block that have no row; `checked` as in `open_shard`.

    Raises:
        UlfineError: The file is missing or damaged.
    """
    with open_shard(path, checked=checked) as file:
        try:
            return list(zip(read_texts(file, "skipped_path"), read_texts(file, "skipped_reason"), strict=True))
        except UNREADABLE as error:
            raise damaged(path) from error


def damaged(path: Path) -> UlfineError:
    """Return the error for a shard that cannot be read."""
    return UlfineError(
        f"{path} is damaged or not a shard: delete it and run the command that made the cache again "
        "(the other shards are kept)"
    )


def open_shard(path: Path, *, checked: bool = True) -> h5py.File:
    """Open a shard for reading.

    HDF5 does not checksum its own bookkeeping, in which a flipped bit can turn labels into others. So the whole file is
    compared with its digest first, once in a process.

    Args:
        path: The shard.
        checked: False leaves the comparison to a later reader.

    Raises:
        UlfineError: The file is missing, damaged, or of a later version.
    """
    bring(path)
    if not path.is_file():
        raise UlfineError(f"{path} is missing: run the command that made the cache again (the other shards are kept)")
    try:
        if checked:
            check_once(path)
        file = open_for_reading(path)
    except (OSError, RuntimeError) as error:
        if is_given_up(path):
            return open_shard(path, checked=checked)
        refuse_for_the_system(path, error)
        raise damaged(path) from error
    try:
        version_of(file, path)
    except UlfineError:
        file.close()
        raise
    except UNREADABLE as error:
        file.close()
        raise damaged(path) from error
    return file
