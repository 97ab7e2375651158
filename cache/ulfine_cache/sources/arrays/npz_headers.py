"""What arrays an `.npz` file holds, without reading them, and which of them are images with labels."""

import lzma
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.foreign_file import what_it_is

_IMAGES = re.compile(r"(?<![a-z])(images|image|imgs|x|data)(?![a-z])")
_LABELS = re.compile(r"(?<![a-z])(labels|label|y|targets|target)(?![a-z])")
_CHANNELS = (1, 3, 4)


UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, SyntaxError, MemoryError, OverflowError),
    # NotImplementedError and RecursionError are among them: unknown compression, passwords, nested headers.
    *(RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError),
)
"""What zipfile and numpy raise about `.npz` files that are damaged or made to be so."""


def told(error: BaseException) -> str:
    """What such an error says, in a line."""
    if isinstance(error, MemoryError):
        return "an array in it is larger than memory"
    if isinstance(error, RecursionError | SyntaxError | tokenize.TokenError):
        return "the header of an array in it is damaged"
    return (reason(error) if isinstance(error, OSError) else str(error) or type(error).__name__).splitlines()[0][:200]


def loaded_array(file: Mapping[str, Any], name: str) -> np.ndarray:
    """Read an array of an open `.npz` file.

    Raises:
        ValueError: The member is no array; others of `UNREADABLE` for damage.
    """
    array = file[name]
    # numpy gives the bytes of members that are no arrays.
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{name} is no array")
    return array


class Header(NamedTuple):
    """Shape and type of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype


class ImageArray(NamedTuple):
    """An array of images and the one of their labels, None where there is none."""

    images: str
    labels: str | None


def npz_headers(path: Path) -> dict[str, Header]:
    """Read the headers of all arrays in an `.npz` file.

    Raises:
        UlfineError: It cannot be read, is another kind of file, or holds Python objects.
    """
    headers = {}
    try:
        if what := what_it_is(path):
            raise UlfineError(f"{path} cannot be read as an .npz file: it is {what}")
        with zipfile.ZipFile(path) as file:
            for info in file.infolist():
                with file.open(info) as member:
                    if not info.filename.endswith(".npy"):
                        raise UlfineError(
                            f"{path} holds {info.filename}, which is no array: it is a zip file of others"
                        )
                    version = np.lib.format.read_magic(member)
                    lib = np.lib.format
                    read = lib.read_array_header_1_0 if version == (1, 0) else lib.read_array_header_2_0
                    shape, _, dtype = read(member)
                headers[info.filename.removesuffix(".npy")] = Header(shape, dtype)
    except zipfile.BadZipFile as error:
        raise UlfineError(
            f"{path} cannot be read as an .npz file: it is none, or damaged: fetch it again, or save it with "
            "numpy.savez"
        ) from error
    except UNREADABLE as error:
        raise UlfineError(f"{path} cannot be read as an .npz file: {told(error)}") from error
    return headers


def image_arrays(headers: Mapping[str, Header]) -> list[ImageArray]:
    """Find the arrays of images, (N, H, W) or (N, H, W, channels) of whole numbers, and their labels.

    They belong together if their names are the same but for the words images and labels (or x and y, data and target)
    and they are of the same length: `train_images` and `train_labels`, `x_test` and `y_test`.
    """
    labels = {
        (_LABELS.sub("", name.lower()), header.shape[0]): name
        for name, header in headers.items()
        if _are_labels(header) and _LABELS.search(name.lower())
    }
    found = []
    for name, header in headers.items():
        if _are_images(header) and _IMAGES.search(name.lower()):
            stem = _IMAGES.sub("", name.lower())
            found.append(ImageArray(name, labels.get((stem, header.shape[0]))))
    return found


def _are_images(header: Header) -> bool:
    if header.dtype.kind not in "ub" or 0 in header.shape or header.dtype.itemsize > 2:
        return False
    if len(header.shape) == 3:
        return min(header.shape[1:]) > 1
    return len(header.shape) == 4 and (header.shape[-1] in _CHANNELS or header.shape[1] in _CHANNELS)


def _are_labels(header: Header) -> bool:
    return len(header.shape) in (1, 2) and header.dtype.kind in "iufUSb"
