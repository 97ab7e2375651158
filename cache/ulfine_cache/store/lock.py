"""One writer per cache directory."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ulfine_cache.atomic import make_directory, reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.store.layout import LOCK_FILE

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
        raise UlfineError(
            f"another process is writing to {cache}: wait until it has finished, or choose another --out"
        ) from error
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise UlfineError(
                f"the file system of {cache} has no file locks (flock), so two processes could write there at once: "
                "choose an --out on a local disk and move the finished cache, or let the administrator mount it with "
                "locks"
            ) from error
        raise UlfineError(f"cannot write to {cache}: {reason(error)}; choose another --out") from error
    try:
        yield
    finally:
        lock.release()
