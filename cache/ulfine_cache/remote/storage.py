"""Objects of a storage, read and written by URL: one small door to fsspec, which tries again what may pass."""

import functools
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.failures import CutOff, StorageError, kind_of, refusal, words
from ulfine_cache.wording.counts import amount

PATIENCE_VARIABLE = "ULFINE_STORAGE_PATIENCE"
"""Environment variable with the seconds that one request is tried again for."""

_PATIENCE = 60.0
_LONGEST_WAIT = 8.0
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_PIECE = 32 << 20
"""Bytes that are downloaded by one request: what is cut off costs no more."""
_PACKAGES = {
    "s3": ("s3fs", "ulfine-fast[s3]"),
    "gs": ("gcsfs", "ulfine-fast[gs]"),
    "memory": ("fsspec", "ulfine-fast[s3]"),
}
_OLDEST = (2025, 5)
"""Of s3fs, whose earlier versions write over what is there although they are told not to."""
_TIMES = ("LastModified", "updated", "mtime", "created")

_Result = TypeVar("_Result")
_random = random.Random()


class Found(NamedTuple):
    """What stands at a URL.

    Attributes:
        url: Where.
        is_folder: Whether objects lie below it.
        size: Bytes; 0 for a folder.
        mtime_ns: Nanoseconds since 1970 of its last change. Whole seconds are the storage's; what is behind them is
            made of its version, so that another object of the same second has another time.
        version: What changes with its content or its writing (the ETag).
    """

    url: str
    is_folder: bool
    size: int
    mtime_ns: int
    version: str

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self.url.rpartition("/")[2]


def look(url: str) -> Found:
    """Say what is at a URL.

    Raises:
        FileNotFoundError: Nothing.
        PermissionError: It may not be seen.
        StorageError: The storage cannot be used.
    """
    files, key = _opened(url)
    try:
        return _found(url, _tried(url, lambda: files.info(key)))
    except PermissionError:
        # S3 does not say here whether it is the credentials; where it does, that is the error.
        listing(url)
        raise


def listing(url: str) -> list[Found]:
    """Return what lies right below a URL, sorted; nothing where there is none.

    Raises:
        PermissionError: It may not be seen.
        StorageError: The storage cannot be used.
    """
    files, key = _opened(url)
    try:
        entries = _tried(url, lambda: files.ls(key, detail=True, **_fresh(files)))
    except FileNotFoundError:
        return []
    below = f"{url.partition('://')[0]}://{key.strip('/')}/"
    found = (_found(_url(url, entry["name"]), entry) for entry in entries)
    # A marker of the folder itself, as consoles make them, is no file in it.
    return sorted(entry for entry in found if entry.url.startswith(below) and entry.name)


def matching(pattern: str) -> list[str]:
    """Return the URLs that a glob stands for, sorted.

    Raises:
        StorageError: The storage cannot be used.
    """
    files, key = _opened(pattern)
    return sorted(_url(pattern, name) for name in _tried(pattern, lambda: files.glob(key)))


def read(url: str, start: int | None = None, end: int | None = None) -> bytes:
    """Return the bytes of an object, or those from `start` up to `end`.

    Raises:
        FileNotFoundError: It is not there.
        PermissionError: It may not be read.
        StorageError: The storage cannot be used.
    """
    files, key = _opened(url)

    def get() -> bytes:
        data: bytes = files.cat_file(key, start=start, end=end)
        if start is not None and end is not None and len(data) != end - start:
            raise CutOff(f"{amount(len(data), 'byte')} of {end - start}")
        return data

    return _tried(url, get)


def download(url: str, target: Path, size: int) -> str:
    """Write an object of a known size to a file, and return the SHA-256 of what arrived.

    Raises:
        FileNotFoundError: It is not there.
        StorageError: The storage cannot be used, or the object has another size.
    """
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for start in range(0, size, _PIECE):
            data = read(url, start, min(size, start + _PIECE))
            digest.update(data)
            file.write(data)
    return digest.hexdigest()


def write_new(url: str, data: bytes) -> bool:
    """Write an object where there is none, in one step.

    Returns:
        Whether this call did; False where one is there, which is left as it is. After a cut connection that may be the
        one that this call wrote.

    Raises:
        StorageError: The storage cannot be used.
    """
    files, key = _opened(url)
    try:
        _tried(url, lambda: files.pipe_file(key, data, mode="create", **_in_one_piece(url, len(data))), writes=True)
    except FileExistsError:
        return False
    return True


def write_over(url: str, data: bytes) -> None:
    """Write an object, whatever is there.

    Raises:
        StorageError: The storage cannot be used.
    """
    files, key = _opened(url)
    _tried(url, lambda: files.pipe_file(key, data, **_in_one_piece(url, len(data))), writes=True)


def upload(path: Path, url: str) -> None:
    """Write a file of any size to a URL, whatever is there; it is seen when it is whole.

    Raises:
        StorageError: The storage cannot be used.
    """
    files, key = _opened(url)
    _tried(url, lambda: files.put_file(str(path), key), writes=True)


def remove(url: str) -> None:
    """Remove an object, if there is one.

    Raises:
        StorageError: The storage cannot be used.
    """
    files, key = _opened(url)
    try:
        _tried(url, lambda: files.rm_file(key), writes=True)
    except FileNotFoundError:
        return


def patience() -> float:
    """Return the seconds that one request is tried again for.

    Raises:
        UlfineError: The environment variable is no number.
    """
    said = os.environ.get(PATIENCE_VARIABLE)
    try:
        seconds = float(said) if said else _PATIENCE
        if not 0 <= seconds < float("inf"):
            raise ValueError
    except ValueError:
        raise UlfineError(f"{PATIENCE_VARIABLE}={said!r} is no number of seconds: set it to one such as 60") from None
    return seconds


def _tried(url: str, request: Callable[[], _Result], *, writes: bool = False) -> _Result:
    """Make a request until it is answered, with longer and longer waits.

    Raises:
        FileNotFoundError, FileExistsError: The answer is that nothing is there, or something.
        PermissionError: It is refused; a request that writes is a `StorageError` then.
        StorageError: It cannot be answered, or not in time.
    """
    wait, deadline, attempts = 0.1, None, 0
    while True:
        try:
            return request()
        except UlfineError:
            raise
        except Exception as error:
            kind = kind_of(error)
            if kind == "exists":
                raise FileExistsError(url) from error
            if kind == "gone":
                raise FileNotFoundError(2, "no such file or directory", url) from error
            if kind == "denied" and not writes:
                raise PermissionError(13, "permission denied", url) from error
            if kind != "passing":
                raise refusal(url, error) from error
            attempts += 1
            now = time.monotonic()
            deadline = deadline if deadline is not None else now + patience()
            if now + wait > deadline:
                raise StorageError(
                    f"gave up on {url} after {amount(attempts, 'attempt')} ({words(error)}): run the same command "
                    f"again when the storage answers, it goes on; {PATIENCE_VARIABLE} sets the seconds to wait for it"
                ) from error
        time.sleep(wait * _random.uniform(0.5, 1))
        wait = min(2 * wait, _LONGEST_WAIT)


def _opened(url: str) -> tuple[Any, str]:
    """The file system of a URL, and what the URL is called there."""
    protocol, _, key = url.partition("://")
    return _file_system(protocol, os.getpid()), key if protocol != "memory" else f"/{key}"


@functools.cache
def _file_system(protocol: str, process: int) -> Any:
    """Open the file system of a protocol, once in a process: its connections do not outlive a fork."""
    package, wanted = _PACKAGES[protocol]
    try:
        import fsspec

        if protocol == "s3":
            _check_version()
        options: dict[str, Any] = {"skip_instance_cache": True} if protocol != "memory" else {}
        if protocol == "s3":
            # What may pass is tried again here, and nowhere below.
            retries = {"total_max_attempts": 1, "mode": "standard"}
            times = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
            # Nor is an object's size asked for before it is read.
            options |= {"use_listings_cache": False, "max_concurrency": 1}
            options |= {"config_kwargs": {"retries": retries, **times}}
        files = fsspec.filesystem(protocol, **options)
    except ImportError as error:
        raise UlfineError(f"{protocol}:// needs {package}: pip install '{wanted}'") from error
    if protocol == "s3":
        files.retries = 1
    return files


def _check_version() -> None:
    import s3fs

    said = str(s3fs.__version__).split(".")[:2]
    if all(part.isdecimal() for part in said) and tuple(map(int, said)) < _OLDEST:
        raise UlfineError(
            f"s3fs {s3fs.__version__} may write over what another process has written: pip install -U 'ulfine-fast[s3]'"
        )


def _fresh(files: Any) -> dict[str, bool]:
    return {"refresh": True} if hasattr(files, "dircache") and type(files).__name__ != "MemoryFileSystem" else {}


def _in_one_piece(url: str, size: int) -> Mapping[str, int]:
    # s3fs writes what is larger than two pieces in several requests.
    return {"chunksize": max(size, 1 << 20)} if url.startswith("s3://") else {}


def _url(like: str, name: str) -> str:
    return f"{like.partition('://')[0]}://{str(name).strip('/')}"


def _found(url: str, entry: Mapping[str, Any]) -> Found:
    if entry.get("type") == "directory":
        return Found(url, True, 0, 0, "")
    size = int(entry.get("size") or 0)
    seconds = next(_seconds(entry))
    tag = str(entry.get("ETag") or entry.get("etag") or entry.get("md5Hash") or entry.get("generation") or seconds)
    version = f"{tag.strip(chr(34))}-{size}"
    digits = int.from_bytes(hashlib.sha256(version.encode()).digest()[:4], "little") % 1_000_000_000
    return Found(url, False, size, int(seconds) * 1_000_000_000 + digits, version)


def _seconds(entry: Mapping[str, Any]) -> Iterator[float]:
    from datetime import datetime

    for name in _TIMES:
        said = entry.get(name)
        if isinstance(said, datetime):
            yield said.timestamp()
        elif isinstance(said, int | float):
            yield float(said)
        elif isinstance(said, str):
            yield datetime.fromisoformat(said).timestamp()
    yield 0.0
