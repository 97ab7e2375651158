"""HDF5 datasets as arrays and as text.

Text is fixed-length UTF-8: checksummed with the data, byte-reproducible, and readable by every HDF5 tool.
"""

import errno
import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ulfine_cache.atomic import reason, replacing
from ulfine_cache.errors import UlfineError
from ulfine_cache.store.digest_file import file_sha256, write_digest
from ulfine_cache.store.regular import check_regular

CHUNK_ROWS = 256
"""Rows in one HDF5 chunk: the size with the fastest sequential reads that random reads can still afford."""

_SYSTEM_REMEDIES = {
    errno.EACCES: "let its owner change its permissions",
    errno.EPERM: "let its owner change its permissions",
    errno.EMFILE: "raise the limit with `ulimit -n`",
    errno.ENFILE: "end other programs",
    errno.EIO: "its device may be failing",
    errno.ESTALE: "try again when the network file system is back",
}

UNREADABLE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)
"""What reading a damaged or foreign HDF5 file may raise."""


def refuse_for_the_system(path: Path, error: BaseException) -> None:
    """Raise where it is the system that keeps a file from being read, which therefore is not damaged.

    Raises:
        UlfineError: It is; the line says why and what to do.
    """
    remedy = _SYSTEM_REMEDIES.get(getattr(error, "errno", None) or 0)
    if remedy is not None:
        raise UlfineError(f"cannot read {path}: {reason(error)}; {remedy}") from error


def open_for_reading(path: Path) -> h5py.File:
    """Open an HDF5 file for reading: the one door to all of them, and it asks for no lock.

    HDF5 locks what it reads unless it is told not to, and some file systems have no locks. Files of a cache are
    complete whenever they exist, so a reader needs none.

    Raises:
        UlfineError: The system refuses it, whatever is inside.
        OSError, RuntimeError: There is no such file, it is a pipe or a folder, or it is not HDF5.
    """
    check_regular(path)
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        refuse_for_the_system(path, error)
        # HDF5 opens a file once in a process, and whoever uses this package may have it open with a lock already.
        if "file locking" not in str(error):
            raise
        file = h5py.File(path, "r")
    try:
        _refuse_other_files(file, path)
    except BaseException:
        file.close()
        raise
    return file


def _refuse_other_files(file: h5py.File, path: Path) -> None:
    """Refuse what HDF5 would read from elsewhere on the machine: a cache may come from somebody else."""
    folder = path.parent.resolve()
    for name in file:
        link = file.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
            raise UlfineError(f"{path}: {name!r} is a link to {link.path!r} instead of data: it is not trusted")
        found = file[name]
        if not isinstance(found, h5py.Dataset):
            continue
        outside = [str(entry[0]) for entry in found.external or ()]
        if found.is_virtual:
            sources = {source.file_name for source in found.virtual_sources()}
            outside += [name for name in sources if not (folder / name).resolve().is_relative_to(folder)]
        if outside:
            raise UlfineError(f"{path}: {name!r} points to {outside[0]}, outside the cache: it is not trusted")


@contextmanager
def replacing_file(path: Path, *, start: Path | None = None, digest: bool = False) -> Generator[h5py.File]:
    """Write an HDF5 file atomically: it is built in memory and reaches the disk as bytes when the body has ended.

    HDF5 does not write to the disk itself: on a full one it goes on failing while it closes the file, with tracebacks
    from destructors and at last a segmentation fault.

    Args:
        path: The file to create or replace. Its directory must exist.
        start: A file whose content to begin with; None begins with nothing.
        digest: Also write `NAME.sha256`, before the file itself: whenever the file exists, its digest does. A file that
            begins with itself (`start`) is there at any moment.

    Yields:
        The new file, open for writing. Nothing is written when the body raises.

    Raises:
        UlfineError: The directory cannot be written or the disk is full.
    """
    former = [file_sha256(path)] if digest and start == path else []
    with replacing(path, goes_on=True) as partial:
        mode = "r+" if start else "w"
        # Nothing is written to `start`, so no lock is needed either.
        with h5py.File(start or partial, mode, driver="core", backing_store=False, locking=False) as file:
            yield file
            file.flush()
            image = file.id.get_file_image()
        sha256 = hashlib.sha256(image).hexdigest()
        if digest:
            if not former:
                # The old file under the new digest would look damaged.
                path.unlink(missing_ok=True)
            write_digest(path, sha256, *former)
        partial.write_bytes(image)
    if former:
        write_digest(path, sha256)


def encode(texts: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Turn strings into an array of fixed-length bytes, tagged as UTF-8 for HDF5.

    File names that are not valid UTF-8 keep their original bytes (Python's "surrogateescape").
    """
    encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max([1, *map(len, encoded)])))


def decode(values: npt.NDArray[np.bytes_]) -> list[str]:
    """Turn an array of fixed-length bytes back into strings."""
    return [bytes(value).decode("utf-8", "surrogateescape") for value in values]


def write_array(file: h5py.File, name: str, values: npt.NDArray[Any]) -> None:
    """Write a dataset in chunks of rows, each with a fletcher32 checksum."""
    if values.size == 0:
        # HDF5 refuses chunks that are larger than the data; no rows need no checksum.
        file.create_dataset(name, data=values)
        return
    chunks = (min(CHUNK_ROWS, len(values)), *values.shape[1:])
    file.create_dataset(name, data=values, chunks=chunks, fletcher32=True)


def write_texts(file: h5py.File, name: str, texts: Sequence[str]) -> None:
    """Write a list of strings as a dataset."""
    write_array(file, name, encode(texts))


def write_attribute(file: h5py.File, name: str, value: Any) -> None:
    """Write an attribute of a file; text that is a path may hold bytes that are not UTF-8, which h5py reads as such."""
    if isinstance(value, str) and not value.isascii():
        encoded = value.encode("utf-8", "surrogateescape")
        file.attrs.create(name, encoded, dtype=h5py.string_dtype("utf-8"))
    else:
        file.attrs[name] = value


def dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset of the file.

    Raises:
        KeyError: There is no dataset of that name.
    """
    found = file[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(name)
    return found


def read_array(file: h5py.File, name: str) -> npt.NDArray[Any]:
    """Read a whole dataset.

    Raises:
        KeyError: There is no dataset of that name.
    """
    found = dataset(file, name)
    # Data that are not there are read as zeros, however many are promised.
    if not found.is_virtual and found.compression is None and found.id.get_storage_size() < found.nbytes:
        raise ValueError(f"{name} promises more than the file holds")
    return np.asarray(found[()])


def read_texts(file: h5py.File, name: str) -> list[str]:
    """Read a whole dataset of strings.

    Raises:
        KeyError: There is no dataset of that name.
    """
    return decode(read_array(file, name))
