"""Read files of a source, and nothing that only looks like one: opening a named pipe would wait for ever."""

import io
import os
import stat
from pathlib import Path
from typing import IO

from ulfine_cache.sources.source import UNKNOWN
from ulfine_cache.sources.trees.remote_file import RemoteFile, found_file, is_url, read_remote_part
from ulfine_cache.store.regular import check_regular, refuse_other_kinds

MAX_BYTES = 1 << 30
"""Larger files are not read: 100 megapixels of 16-bit RGB have 600 MB without any compression."""

# Windows knows no O_NONBLOCK, and its own O_BINARY is needed there.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_EFFECTIVE = os.access in os.supports_effective_ids


def stamp(path: str, status: os.stat_result) -> tuple[int, int]:
    """Return size and time of change of a file, as they stand in a listing.

    Args:
        path: Where it is.
        status: `os.stat(path)`.

    Returns:
        Bytes and nanoseconds since 1970; (-1, -1) if it may not be read or is no file, so that the listing changes when
        that is mended (the time of change does not).
    """
    if not stat.S_ISREG(status.st_mode):
        return UNKNOWN, UNKNOWN
    # The system is only asked about files that are not for everybody: most are, and a listing may have millions.
    if not status.st_mode & stat.S_IROTH and not os.access(path, os.R_OK, effective_ids=_EFFECTIVE):
        return UNKNOWN, UNKNOWN
    return status.st_size, status.st_mtime_ns


def stamp_of(path: str) -> tuple[int, int]:
    """Return `stamp` of the file at a path or a URL; (-1, -1) if it cannot be had."""
    try:
        if is_url(path):
            found = found_file(path)
            return found.size, found.mtime_ns
        return stamp(path, os.stat(path))  # noqa: PTH116 (there may be a million)
    except OSError:
        return UNKNOWN, UNKNOWN


def open_regular(path: str, buffering: int = -1) -> IO[bytes]:
    """Open a file for reading, without ever opening a pipe, socket, device or directory.

    Args:
        path: Where it is, a path or a URL.
        buffering: As in `open`.

    Raises:
        OSError: There is no file, or it may not be read.
    """
    if is_url(path):
        return io.BufferedReader(RemoteFile(path), buffering if buffering > 0 else io.DEFAULT_BUFFER_SIZE)
    check_regular(Path(path))
    handle = os.open(path, _FLAGS)
    try:
        # Again, because something else may have taken the name; O_NONBLOCK has kept us from waiting for it.
        refuse_other_kinds(os.fstat(handle))
        return os.fdopen(handle, "rb", buffering)
    except OSError:
        os.close(handle)
        raise


def read_regular(path: str) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: It cannot be read, is no file, or is larger than `MAX_BYTES`.
    """
    with open_regular(path) as file:
        check_size(os.fstat(file.fileno()).st_size)
        return file.read()


def read_text(path: Path, encoding: str = "utf-8", *, most: int = 1 << 24) -> str:
    """Return the text of a file that people write by hand, such as settings.

    Args:
        path: Where it is.
        encoding: How it is encoded.
        most: Bytes it may have.

    Raises:
        OSError: It cannot be read, is no file, or is larger.
        UnicodeDecodeError: It is no such text.
    """
    with open_regular(str(path)) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"larger than {most >> 20} MiB, which no such file is")
    return data.decode(encoding)


def read_part(path: str, offset: int, size: int, mtime_ns: int) -> bytes:
    """Return a part of a tar file that was listed before.

    Args:
        path: The tar file, a path or a URL.
        offset: Of the part's first byte.
        size: Bytes.
        mtime_ns: The file's time of change when it was listed.

    Raises:
        OSError: The file has vanished or changed since, ends too early, or the part is larger than `MAX_BYTES`.
    """
    check_size(size)
    if is_url(path):
        return read_remote_part(path, offset, size, mtime_ns)
    with open_regular(path, 0) as file:
        if os.fstat(file.fileno()).st_mtime_ns != mtime_ns:
            raise OSError("its tar file has changed since it was listed")
        file.seek(offset)
        data = file.read(size)
        while len(data) < size:
            more = file.read(size - len(data))
            if not more:
                raise OSError("the tar file ends in the middle of it")
            data += more
    return data


def check_size(size: int) -> None:
    """Refuse what is too large to be read into memory.

    Raises:
        OSError: It is larger than `MAX_BYTES`.
    """
    if size > MAX_BYTES:
        raise OSError(f"larger than {MAX_BYTES >> 30} GiB: {size} bytes")
