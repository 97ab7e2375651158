"""Files that are either complete or absent, whatever kills the writer."""

import contextlib
import ctypes
import errno
import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ulfine_cache.errors import UlfineError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PARTIAL = ".partial"
"""Suffix of files that are being written; whatever carries it may be deleted."""

PATIENCE = 60.0
"""Seconds that a writer waits for another one of the same file, which usually needs milliseconds."""

_OLD = ".old"
"""Suffix of a directory that is being replaced, where two names cannot be exchanged."""

_HERE = -100
"""AT_FDCWD: names are relative to the working directory."""

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)
"""NFS, for one, locks no folders."""

_AGAIN = "free some space and run the same command again"
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
def replacing(path: Path, *, durable: bool = True, goes_on: bool = False) -> Generator[Path]:
    """Write `path` under a temporary name in the same directory and rename it when all bytes are on disk.

    The temporary file is held by a lock of the operating system while it is written. So of several writers of one file
    each waits for the one before, the last one wins, and what a killed one left is taken over by the next.

    Args:
        path: The file to create or replace. Its directory must exist.
        durable: False does not wait for the disk: after a power failure the file may be cut short.
        goes_on: Whether the command that writes it goes on where it was, which the error about a full disk tells.

    Yields:
        The temporary path, an empty file. It is removed when the body raises.

    Raises:
        UlfineError: The directory cannot be written, the disk is full, or another process does not finish.
    """
    # HDF5 and FAISS report a full disk as RuntimeError.
    partial = path.with_name(path.name + PARTIAL)
    with _claimed(path, partial, (OSError, RuntimeError), wait=PATIENCE, goes_on=goes_on) as partial:
        yield partial
        if durable:
            _sync(partial)
        partial.replace(path)
        if durable:
            sync_directory(path.parent)


@contextmanager
def new_directory(path: Path, *, hidden: bool = False, replace: bool = False) -> Generator[Path]:
    """Fill a directory under a temporary name beside `path` and rename it when all bytes are on disk.

    The temporary directory is held by a lock as in `replacing`, but nobody waits: of two writers the second is told.

    Args:
        path: The directory to create: nothing may be there, or an empty directory.
        hidden: Let the temporary name begin with a dot.
        replace: A directory at `path` may hold something and is replaced. Where the system can exchange two names there
            is one at any moment; elsewhere the next call with the same `path` repairs what a kill left.

    Yields:
        The temporary directory, empty. It is removed when the body raises.

    Raises:
        UlfineError: Something is there, it cannot be written, or another process is writing it.
    """
    make_directory(path.parent)
    name = f".{path.name}" if hidden else path.name
    with _claimed(path, path.with_name(name + PARTIAL), (OSError,), folder=True) as partial:
        _put_back(path, partial.with_suffix(_OLD))
        yield partial
        for place in [*partial.rglob("*"), partial]:
            (sync_directory if place.is_dir() else _sync)(place)
        if replace and path.is_dir():
            _exchange(partial, path)
        else:
            _publish(partial, path)
        sync_directory(path.parent)


def _publish(partial: Path, path: Path) -> None:
    try:
        partial.replace(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        raise UlfineError(
            f"{path} was made by another process in the meantime, and nothing of it was replaced: choose another place"
        ) from error


def _exchange(partial: Path, path: Path) -> None:
    """Put a complete directory in the place of another one and delete that."""
    # Whoever takes over the temporary name has to wait until the former directory has gone from it.
    with _locked(path):
        if not _swap(partial, path):
            old = partial.with_suffix(_OLD)
            path.rename(old)
            partial.rename(path)
            partial = old
        sync_directory(path.parent)
        _remove(partial)


def _put_back(path: Path, old: Path) -> None:
    """Repair what `_exchange` leaves where it is killed between its two renames, or behind them."""
    if old.is_dir() and not path.exists():
        old.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _swap(one: Path, other: Path) -> bool:
    """Let two names change places in one step; False where the system or the file system cannot."""
    if not fcntl:
        return False
    library, names = ctypes.CDLL(None), (os.fsencode(one), os.fsencode(other))
    if hasattr(library, "renameat2"):  # Linux
        return library.renameat2(_HERE, names[0], _HERE, names[1], 2) == 0
    if hasattr(library, "renamex_np"):  # macOS
        return library.renamex_np(*names, 2) == 0
    return False


@contextmanager
def _claimed(
    path: Path,
    partial: Path,
    failures: tuple[type[Exception], ...],
    *,
    folder: bool = False,
    wait: float = 0,
    goes_on: bool = False,
) -> Generator[Path]:
    """Make an empty temporary file or folder and hold it; it is removed when the body raises.

    Raises:
        UlfineError: One of `failures` was raised, in words about `path`, or another process holds it all the time.
    """
    handle, mine = None, False
    try:
        handle = _hold(path, partial, folder, time.monotonic() + wait)
        if handle is None:
            # Nobody can tell whether it is still written, so each process has its own.
            partial = partial.with_suffix(f".{os.getpid()}{PARTIAL}")
            _make(partial, folder)
        mine = True
        _empty(partial, folder)
        yield partial
    except BaseException as error:
        if mine:
            _remove(partial)
        if isinstance(error, failures):
            raise _cannot_write(path, error, goes_on) from error
        raise
    finally:
        if handle is not None:
            os.close(handle)


def _hold(path: Path, partial: Path, folder: bool, deadline: float) -> int | None:
    """Make and lock a temporary file or folder, which may hold what a killed process left; None without locks."""
    while fcntl:
        _make(partial, folder)
        try:
            handle = os.open(partial, os.O_RDONLY if folder else os.O_RDWR)
        except FileNotFoundError:
            continue
        held = False
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process before may have given it its name in the meantime, or removed it.
            held = os.path.samestat(os.fstat(handle), partial.lstat())
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise UlfineError(
                    f"another process is writing {path}: wait until it has finished, or choose another place"
                ) from None
            time.sleep(0.02)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            _remove(partial)
            return None
        finally:
            if not held:
                os.close(handle)
        if held:
            return handle
    return None


def _make(partial: Path, folder: bool) -> None:
    """Make an empty file or folder where there is none."""
    if folder:
        partial.mkdir(exist_ok=True)
    else:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666))


def _empty(partial: Path, folder: bool) -> None:
    """Remove what a killed process left."""
    if not folder:
        os.truncate(partial, 0)
        return
    for path in partial.iterdir():
        _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextmanager
def _locked(folder: Path) -> Generator[None]:
    """Hold a folder where that is possible."""
    handle = None
    try:
        if fcntl:
            with contextlib.suppress(OSError):
                handle = os.open(folder, os.O_RDONLY)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        if handle is not None:
            os.close(handle)


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
    """Delete what interrupted writers left in `directory`, less what is being written now, and count it."""
    found = [path for path in sorted(directory.glob(f"*{PARTIAL}")) if not _is_held(path)]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _is_held(partial: Path) -> bool:
    """Say whether another process is writing a temporary file, as far as that can be known."""
    if not fcntl:
        return False
    try:
        with partial.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def reason(error: BaseException) -> str:
    """Return the system's words for an error as one short line."""
    number = getattr(error, "errno", None)
    if number:
        return os.strerror(number).lower()
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _cannot_write(path: Path, error: BaseException, goes_on: bool) -> UlfineError:
    words = reason(error)
    for number, remedy in _REMEDIES.items():
        # HDF5 and FAISS put the system's words into their own.
        if os.strerror(number).lower() in words.lower():
            more = ", it goes on" if goes_on and remedy == _AGAIN else ""
            return UlfineError(f"cannot write {path}: {os.strerror(number).lower()}; {remedy}{more}")
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
