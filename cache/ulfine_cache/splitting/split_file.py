"""A split on disk, `splits/NAME.h5`, tied to the fingerprint of the cache that it was drawn from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.atomic import make_directory
from ulfine_cache.errors import UlfineError
from ulfine_cache.splitting.split_draw import Split
from ulfine_cache.store.datasets import UNREADABLE, dataset, open_for_reading, read_array, replacing_file
from ulfine_cache.store.digest_file import digest_problem
from ulfine_cache.store.layout import SCHEMA_VERSION, SPLITS
from ulfine_cache.store.objects.writing import put_split
from ulfine_cache.store.versions import version_of

_PARTS = ("labelled", "unlabelled", "val", "test")


def split_path(folder: Path, name: str) -> Path:
    """Return the file of a named split in the directory of a cache."""
    return folder / SPLITS / f"{name}.h5"


def split_names(folder: Path) -> list[str]:
    """Return the names of the splits in the directory of a cache, sorted."""
    return sorted(path.stem for path in (folder / SPLITS).glob("*.h5"))


def write_split(folder: Path, split: Split, fingerprint: str, *, check: Callable[[], None] = lambda: None) -> Path:
    """Store a split in its cache's directory.

    Args:
        folder: The directory of the cache.
        split: What was drawn; it has a name.
        fingerprint: Of the cache that it was drawn from.
        check: Called while no other process can write the split; raises where the one that stands there has to stay.

    Returns:
        The file.

    Raises:
        UlfineError: The directory cannot be written.
    """
    path = split_path(folder, split.name)
    make_directory(path.parent)
    with replacing_file(path, digest=True) as file:
        check()
        file.attrs["schema_version"] = SCHEMA_VERSION
        file.attrs["fingerprint"] = fingerprint
        # A dataset, because HDF5 attributes end at 64 KiB and the counts of many classes do not.
        file["protocol"] = json.dumps(split.protocol, sort_keys=True)
        for part in _PARTS:
            file[part] = getattr(split, part)
    put_split(path)
    return path


def read_split(folder: Path, name: str, fingerprint: str, n_rows: int) -> Split:
    """Read a named split.

    Args:
        folder: The directory of the cache.
        name: The split's.
        fingerprint: Of the cache as it is now.
        n_rows: Rows of the cache as it is now.

    Raises:
        UlfineError: There is no such split, it is damaged, or it was drawn from other features.
    """
    names = split_names(folder)
    if name not in names:
        there = ", ".join(names) or "none yet"
        raise UlfineError(f"no split {name!r} in {folder}: there are {there}; `ulfine split` draws one")
    drawn_from, split = _read(folder, name)
    parts = (getattr(split, part) for part in _PARTS)
    if drawn_from != fingerprint or any(len(rows) and rows[-1] >= n_rows for rows in parts):
        raise UlfineError(
            f"split {name!r} was drawn from other features than {folder} holds now: draw it again, the same "
            "`ulfine split` command does"
        )
    return split


def read_protocol(folder: Path, name: str) -> dict[str, Any]:
    """Return what a split was drawn by, whatever the cache holds now.

    Raises:
        UlfineError: It is damaged.
    """
    return _read(folder, name)[1].protocol


def is_outdated(folder: Path, name: str, fingerprint: str) -> bool:
    """Say whether a split was drawn from other features than those of a fingerprint.

    Raises:
        UlfineError: It is damaged.
    """
    return _read(folder, name)[0] != fingerprint


def _read(folder: Path, name: str) -> tuple[str, Split]:
    """Return the fingerprint that a split was drawn from, and the split."""
    path = split_path(folder, name)
    try:
        problem = digest_problem(path)
        if problem is not None and problem.path == path:
            raise OSError(problem.reason)
        with open_for_reading(path) as file:
            version_of(file, path)
            drawn_from = str(file.attrs["fingerprint"])
            protocol = json.loads(dataset(file, "protocol")[()])
            parts = [read_array(file, part).astype(np.int64) for part in _PARTS]
    except UNREADABLE as error:
        raise UlfineError(
            f"{path} is damaged or not a split: delete it and draw it again with `ulfine split`"
        ) from error
    return drawn_from, Split(name, *parts, protocol=protocol)
