"""Files that are either complete or absent, whatever kills the writer."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ulfine_cache.errors import UlfineError

PARTIAL = ".partial"
"""Suffix of files that are being written; whatever carries it may be deleted."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write `path` under a temporary name in the same directory and rename it when all bytes are on disk.

    Args:
        path: The file to create or replace. Its directory must exist.

    Yields:
        The temporary path. It is removed when the body raises.

    Raises:
        UlfineError: The directory cannot be written or the disk is full.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
        sync_directory(path.parent)
    # HDF5 and FAISS report a full disk as RuntimeError.
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise UlfineError(f"cannot write {path}: {reason(error)}") from error
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def make_directory(path: Path) -> None:
    """Create a directory and its parents, or say why that is impossible.

    Raises:
        UlfineError: The path is a file, or a parent cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UlfineError(f"cannot create the directory {path}: {reason(error)}; choose another place") from error


def remove_partial_files(directory: Path) -> int:
    """Delete what an interrupted writer left in `directory` and count it."""
    found = sorted(directory.glob(f"*{PARTIAL}"))
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def reason(error: BaseException) -> str:
    """Return the system's words for an error as one short line."""
    number = getattr(error, "errno", None)
    if number:
        return os.strerror(number).lower()
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Put on disk which names a directory holds.

    Raises:
        OSError: It cannot be opened.
    """
    # Windows cannot open directories; there the rename itself is all that can be had.
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
