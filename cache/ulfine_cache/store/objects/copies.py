"""Local copies of single files of a cache on object storage, which are fetched when they are read.

An empty file stands for one that is there and has no copy yet, so that a directory of copies looks like a cache.
Nothing here does anything about paths of this machine (`ulfine_cache.remote.places.url_of` says None).
"""

import contextlib
import os
import threading
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

from ulfine_cache.atomic import make_directory, reason, replacing
from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.places import FOLDER_VARIABLE, local_copies, url_of
from ulfine_cache.remote.storage import Found, download, look, read, write_over
from ulfine_cache.store.digest_file import DIGEST, digest_path, recorded_sha256
from ulfine_cache.store.layout import SHARDS
from ulfine_cache.store.objects.disk_space import VERSIONS, give_up, make_room, touch
from ulfine_cache.store.objects.index_file import INDEX, CacheIndex

_fetching: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
_OTHER_BYTES = "its bytes differ from those that were written (SHA-256)"


def bring(path: Path, *, checked: bool = True) -> None:
    """Have a copy of a file, if it is on a storage and has none.

    Args:
        path: A shard or the FAISS index of a cache.
        checked: Refuse other bytes than those that were written; False leaves that to the caller.

    Raises:
        UlfineError: It is gone or damaged, or the storage cannot be used.
        OSError: The local disk cannot be written.
    """
    url = url_of(path)
    if url is None:
        return
    try:
        if path.stat().st_size:
            touch(path)
            return
    except OSError:
        return  # not even an empty file: nobody has said that there is one
    with _fetching[path]:
        if not path.stat().st_size:
            _fetch(path, url, checked)


def is_given_up(path: Path) -> bool:
    """Say whether another thread or process has taken a copy away, which can be fetched again."""
    try:
        return url_of(path) is not None and not path.stat().st_size
    except OSError:
        return False


def size_here(path: Path) -> int:
    """Return the size of a file, which is fetched where it has no copy.

    Raises:
        UlfineError: As by `bring`.
        OSError: There is none.
    """
    bring(path)
    return path.stat().st_size


def index_here(cache: Path) -> CacheIndex | None:
    """Return the index file as it was last seen, or None."""
    try:
        return CacheIndex.parsed((cache / INDEX).read_bytes(), str(cache / INDEX))
    except (OSError, UlfineError):
        return None


def expect(path: Path) -> None:
    """Put an empty file where there will be a copy."""
    if not (path.exists() and path.stat().st_size == 0):
        forget_version(path)
        give_up(path)
    digest_path(path).unlink(missing_ok=True)


def made_elsewhere(path: Path, sha256: str) -> None:
    """Take note of a shard that another machine has put on the storage.

    Args:
        path: What stands for it.
        sha256: Of its bytes.
    """
    if url_of(path) is not None and recorded_sha256(path) != sha256:
        make_directory(path.parent)
        expect(path)
        write_digest_here(path, digest_text(path, sha256))


def keep_version(path: Path, version: str) -> None:
    """Write down that a local file is a copy, and of which version of what is on the storage."""
    make_directory(_version_path(path).parent)
    _version_path(path).write_text(version, "utf-8")


def version_here(path: Path) -> str | None:
    """Return which version a copy is of, or None for a file that is none."""
    try:
        return _version_path(path).read_text("utf-8")
    except OSError:
        return None


def forget_version(path: Path) -> None:
    """Take a local file for one that is not on the storage."""
    _version_path(path).unlink(missing_ok=True)


def fetch(url: str, path: Path, size: int) -> str:
    """Download an object to a file, which appears when it is whole.

    Returns:
        The SHA-256 of what arrived.

    Raises:
        FileNotFoundError: The object is gone.
        UlfineError: The storage cannot be used, or the disk cannot be written.
    """
    with _local_disk(path):
        partial = _partial(path)
        try:
            sha256 = download(url, partial, size)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return sha256


def write_digest_here(path: Path, text: bytes) -> None:
    """Write the digest file of a copy."""
    with replacing(digest_path(path), durable=False) as partial:
        partial.write_bytes(text)


def digest_text(path: Path, sha256: str) -> bytes:
    """Return what a digest file says, as `sha256sum -c` reads it."""
    return f"{sha256}  {path.name}\n".encode()


def _fetch(path: Path, url: str, checked: bool) -> None:
    is_shard = path.parent.name == SHARDS
    cache = path.parent.parent if is_shard else path.parent
    index = index_here(cache)
    part = index.part(path.relative_to(cache).as_posix()) if index else None
    where = f"{url_of(cache)}/{part.at}" if part else url
    try:
        found = look(where)
        if found.is_folder:
            raise FileNotFoundError(where)
        make_room(found.size, path)
        _into_place(path, where, found, part.sha256 if part else None, is_shard=is_shard, checked=checked)
    except FileNotFoundError:
        if not checked:
            path.unlink(missing_ok=True)
            return
        raise UlfineError(
            f"{where} is missing: run the command that made the cache again (the other shards are kept)"
        ) from None
    except PermissionError as error:
        raise UlfineError(f"cannot read {where}: permission denied; let its owner give the right to read it") from error


def _into_place(path: Path, where: str, found: Found, expected: str | None, *, is_shard: bool, checked: bool) -> None:
    said = _digest_there(where) if is_shard and (expected is None or not checked) else None
    with _local_disk(path):
        partial = _partial(path)
        try:
            sha256 = download(where, partial, found.size)
            if is_shard:
                if said is None and expected is None:
                    # Whoever wrote the shard was ended before it wrote this.
                    said = digest_text(path, sha256)
                    write_over(where + DIGEST, said)
                write_digest_here(path, said or digest_text(path, expected or sha256))
                expected = expected or recorded_sha256(path)
            if checked and expected is not None and sha256 != expected:
                digest_path(path).unlink(missing_ok=True)
                raise UlfineError(
                    f"{where} is damaged: {_OTHER_BYTES}; run the command that made the cache again (the other shards "
                    "are kept)"
                )
            keep_version(path, found.version)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _digest_there(where: str) -> bytes | None:
    try:
        return read(where + DIGEST)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _local_disk(path: Path) -> Generator[None]:
    try:
        make_directory(path.parent)
        yield
    except (FileNotFoundError, PermissionError) as error:
        # Of the storage, whose errors name the URL; or of the disk.
        if "://" in str(error.filename):
            raise
        raise UlfineError(f"cannot write {path}: {reason(error)}") from error
    except OSError as error:
        raise UlfineError(
            f"cannot write a local copy to {local_copies()}: {reason(error)}; free some space, or set "
            f"{FOLDER_VARIABLE} to another folder"
        ) from error


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.partial")


def _version_path(path: Path) -> Path:
    return path.parent / VERSIONS / path.name
