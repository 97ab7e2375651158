"""Files behind URLs, read in ranges: what lies close together in a tar file costs one request."""

import io
import os
import threading
from collections import OrderedDict
from concurrent.futures import Future

from ulfine_cache.remote.storage import Found, look, read

BLOCK = 8 << 20
"""Bytes of one request."""

_MOST_BLOCKS = 24


def is_url(path: str) -> bool:
    """Tell a URL from the path of a file; paths are absolute here."""
    return "://" in path


class RemoteFile(io.RawIOBase):
    """A file behind a URL, for reading.

    Args:
        url: Where it is.

    Raises:
        OSError: It is not there or may not be read.
        StorageError: The storage cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._found, self._at = found_file(url), 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that any byte can be read next."""
        return True

    def tell(self) -> int:
        """Return which byte is read next."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Choose which byte is read next."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._found.size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: "memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Read bytes up to the end of a block."""
        number, within = divmod(self._at, BLOCK)
        if self._at >= self._found.size:
            return 0
        data = _block(self._found, number)[within : within + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def found_file(url: str) -> Found:
    """Say what is at a URL, which has to be a file.

    Raises:
        OSError: It is not there, may not be read, or is a folder.
        StorageError: The storage cannot be used.
    """
    found = look(url)
    if found.is_folder:
        raise IsADirectoryError(21, "is a directory", url)
    return found


def read_remote_part(url: str, offset: int, size: int, mtime_ns: int) -> bytes:
    """Return a part of a file that was listed before, see `ulfine_cache.sources.trees.regular_file.read_part`.

    Raises:
        OSError: The file has vanished or changed since, or ends too early.
        StorageError: The storage cannot be used.
    """
    found = _known(url, mtime_ns)
    if offset + size > found.size:
        raise OSError("the tar file ends in the middle of it")
    parts: list[bytes] = []
    while size:
        number, within = divmod(offset, BLOCK)
        parts.append(_block(found, number)[within : within + size])
        offset, size = offset + len(parts[-1]), size - len(parts[-1])
    return b"".join(parts)


_blocks: OrderedDict[tuple[str, str, int], Future[bytes]] = OrderedDict()
_listed: dict[str, Found] = {}
_lock = threading.Lock()


def _known(url: str, mtime_ns: int) -> Found:
    """What was found at a URL, asked again where it was another one than the listing has."""
    found = _listed.get(url)
    if found is None or found.mtime_ns != mtime_ns:
        found = _listed[url] = found_file(url)
    if found.mtime_ns != mtime_ns:
        raise OSError("its tar file has changed since it was listed")
    return found


def _block(found: Found, number: int) -> bytes:
    """Return a block of a file, which is read once while it is in use by any number of threads."""
    key = (found.url, found.version, number)
    with _lock:
        wanted = _blocks.get(key)
        mine = wanted is None
        if wanted is None:
            wanted = _blocks[key] = Future()
            while len(_blocks) > _MOST_BLOCKS:
                _blocks.popitem(last=False)
        _blocks.move_to_end(key)
    if mine:
        start = number * BLOCK
        try:
            # It may have been replaced since it was listed, and half of another file is none.
            if number and found_file(found.url).version != found.version:
                raise OSError("its tar file has changed since it was listed")
            wanted.set_result(read(found.url, start, min(found.size, start + BLOCK)))
        except BaseException as error:
            with _lock:
                _blocks.pop(key, None)
            wanted.set_exception(error)
    return wanted.result()
