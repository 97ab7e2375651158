"""Files that are either complete or absent, whatever kills the writer."""

import contextlib
import errno
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ulfine_cache.errors import UlfineError

PARTIAL = ".partial"
"""Suffix of files that are being written; whatever carries it may be deleted."""

_AGAIN = "free some space and run the same command again, it goes on"
_ELSEWHERE = "choose another place"
_REMEDIES = {
    errno.ENOSPC: _AGAIN,
    errno.EDQUOT: _AGAIN,
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`), or choose another file system",
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.ENOENT: "its directory has vanished meanwhile: run the same command again",
    errno.EIO: "the device may be failing: choose another place",
    errno.ESTALE: "the network file system has gone: run the same command again when it is back",
}


@contextmanager
def replacing(path: Path) -> Generator[Path]:
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
        raise _cannot_write(path, error) from error
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


@contextmanager
def new_directory(path: Path) -> Generator[Path]:
    """Fill a directory under a temporary name beside `path` and rename it when all bytes are on disk.

    Args:
        path: The directory to create: nothing may be there, or an empty directory.

    Yields:
        The temporary directory, empty. It is removed when the body raises.

    Raises:
        UlfineError: Something is there, or it cannot be written.
    """
    partial = path.with_name(path.name + PARTIAL)
    make_directory(path.parent)
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        yield partial
        for place in [*partial.rglob("*"), partial]:
            (sync_directory if place.is_dir() else _sync)(place)
        partial.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise _cannot_write(path, error) from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
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


def _cannot_write(path: Path, error: BaseException) -> UlfineError:
    words = reason(error)
    for number, remedy in _REMEDIES.items():
        # HDF5 and FAISS put the system's words into their own.
        if os.strerror(number).lower() in words.lower():
            return UlfineError(f"cannot write {path}: {os.strerror(number).lower()}; {remedy}")
    return UlfineError(f"cannot write {path}: {words}")


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
