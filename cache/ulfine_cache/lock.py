"""One writer per cache directory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ulfine_cache.atomic import make_directory, reason
from ulfine_cache.errors import UlfineError

LOCK_FILE = ".lock"


@contextmanager
def writing(cache: Path) -> Iterator[None]:
    """Create a cache directory and hold it for writing.

    The lock is the operating system's (flock): it ends with the process that holds it, even by SIGKILL.

    Raises:
        UlfineError: Another process is writing there, or the directory cannot be written.
    """
    make_directory(cache)
    lock = FileLock(cache / LOCK_FILE)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UlfineError(
            f"another process is writing to {cache}: wait until it has finished, or choose another --out"
        ) from error
    except (OSError, NotImplementedError) as error:
        raise UlfineError(f"cannot write to {cache}: {reason(error)}; choose another --out") from error
    try:
        yield
    finally:
        lock.release()
