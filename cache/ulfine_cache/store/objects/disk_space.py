"""How much of the disk local copies may take: the ones that were not used for longest make room for new ones."""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ulfine_cache.errors import UsageError
from ulfine_cache.remote.places import local_copies
from ulfine_cache.store.layout import INDEX_FILE, SHARDS

VARIABLE = "ULFINE_LOCAL_CACHE"
"""Environment variable with the bound."""

DEFAULT = "20GB"

VERSIONS = ".versions"
"""Folder in a local copy of a cache: for each file that is on the storage as well, which version it is of."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_SHARE = 0.9
"""What is left of the bound when room has been made, so that it is not made again at once."""


class _Copy(NamedTuple):
    used: float
    size: int
    path: Path


class _Tally:
    """What this process has counted last, and added since."""

    counted = 0
    added = 0
    known = False


def bound() -> int:
    """Return the bytes that local copies may take.

    Raises:
        UsageError: The environment variable is no size.
    """
    return size_of(os.environ.get(VARIABLE) or DEFAULT)


def bounded(text: str | None) -> None:
    """Bound the local copies in this process and those that it starts; None leaves the bound as it is.

    Raises:
        UsageError: The text is no size.
    """
    if text is not None:
        size_of(text)
        os.environ[VARIABLE] = text


def size_of(text: str) -> int:
    """Return a size in bytes.

    Args:
        text: Such as ``20GB``, ``500 MB`` or ``2GiB``.

    Raises:
        UsageError: It is no size.

    Example:
        >>> size_of("1.5GB"), size_of("2GiB")
        (1500000000, 2147483648)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise UsageError(f"local cache {text!r} is no size: write something like {DEFAULT}")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].upper()])


def forget_count() -> None:
    """Count the copies anew the next time, because they are in another folder."""
    _Tally.known = False


def touch(path: Path) -> None:
    """Note that a copy is used."""
    with contextlib.suppress(OSError):
        os.utime(path)


def make_room(size: int, keep: Path) -> None:
    """Give up copies that were not used for longest until one more has room.

    A copy is given up by an empty file in its place: whoever has it open goes on reading.

    Args:
        size: Bytes of the one more.
        keep: It; it stays even where it alone is above the bound.

    Raises:
        UsageError: The bound is no size.
    """
    most = bound()
    _Tally.added += size
    # Counting takes a while where there are many, and other processes have copies, too.
    if _Tally.known and _Tally.counted + _Tally.added <= most and _Tally.added <= most // 20:
        return
    copies = sorted(_copies())
    _Tally.counted, _Tally.added, _Tally.known = sum(copy.size for copy in copies), 0, True
    if _Tally.counted + (0 if keep.exists() and keep.stat().st_size else size) <= most:
        return
    for copy in copies:
        if _Tally.counted + size <= _SHARE * most:
            break
        if copy.path != keep and give_up(copy.path):
            _Tally.counted -= copy.size


def give_up(path: Path) -> bool:
    """Put an empty file in the place of a copy; False where the system refuses it."""
    empty = path.with_name(f".{path.name}.{os.getpid()}.{time.monotonic_ns()}.partial")
    try:
        empty.touch()
        empty.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            empty.unlink(missing_ok=True)
        return False
    return True


def _copies() -> Iterator[_Copy]:
    """All copies that can be had again when they are read: of shards and of FAISS indices."""
    for folder, folders, files in os.walk(local_copies()):
        if Path(folder).name != VERSIONS:
            continue
        folders.clear()
        for name in files:
            path = Path(folder).parent / name
            if path.parent.name != SHARDS and name != INDEX_FILE:
                continue
            with contextlib.suppress(OSError):
                status = path.stat()
                if status.st_size:
                    yield _Copy(status.st_mtime, status.st_size, path)
