"""One writer per cache directory, or several that each make a range of its shards."""

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ulfine_cache.atomic import make_directory, reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress
from ulfine_cache.store.layout import LOCK_FILE, PREPARING_FILE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def writing(cache: Path) -> Generator[None]:
    """Create a cache directory and hold it for writing.

    The lock is the operating system's (flock): it ends with the process that holds it, even by SIGKILL.

    Raises:
        UlfineError: Another process is writing there, the directory cannot be written, or its file system has no locks.
    """
    make_directory(cache)
    # filelock's fallback is a file that outlives a killed process.
    lock = FileLock(cache / LOCK_FILE, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise _held(cache) from error
    except OSError as error:
        raise _not_lockable(cache, error) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def writing_a_range(cache: Path) -> Generator[None]:
    """Create a cache directory and hold it for writing some of its shards.

    Any number of processes hold it so at once, on one machine or, over a network drive with locks, on many; none does
    while one holds it for `writing`, and the other way round.

    Raises:
        UlfineError: Another process writes all of it, the directory cannot be written, or its file system or the
            operating system has no such locks.
    """
    make_directory(cache)
    if not fcntl:
        raise UlfineError("--shard-range needs locks that several processes share, which this system has not")
    try:
        handle = os.open(cache / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _not_lockable(cache, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _held(cache) from error
        except OSError as error:
            raise _not_lockable(cache, error) from error
        yield
    finally:
        os.close(handle)


@contextmanager
def preparing(cache: Path, progress: Progress) -> Generator[None]:
    """Let one of the processes that hold a cache for ranges of it do what only one may do at a time; others wait."""
    lock = FileLock(cache / PREPARING_FILE, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(f"waiting for another process that looks through {cache}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _held(cache: Path) -> UlfineError:
    return UlfineError(f"another process is writing to {cache}: wait until it has finished, or choose another --out")


def _not_lockable(cache: Path, error: OSError) -> UlfineError:
    if error.errno in _NO_LOCKS:
        return UlfineError(
            f"the file system of {cache} has no file locks (flock), so two processes could write there at once: "
            "choose an --out on a local disk and move the finished cache, or let the administrator mount it with "
            "locks"
        )
    return UlfineError(f"cannot write to {cache}: {reason(error)}; choose another --out")
