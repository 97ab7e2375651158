"""Images in the arrays of an `.npz` file, as MedMNIST and Keras have them."""

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.arrays.npz_headers import (
    UNREADABLE,
    Header,
    ImageArray,
    image_arrays,
    loaded_array,
    npz_headers,
)
from ulfine_cache.sources.source import LeftOut, SourceItem
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.words.class_labels import LabelColumn, single_class, warn_of_several
from ulfine_cache.sources.words.set_names import set_in_name
from ulfine_cache.wording.counts import listed

_MOST_BYTES = 8 << 30
"""Compressed arrays are expanded into memory, together at most so much."""
_NAMES = ("class_names", "classes", "label_names", "names")


class ArrayImages:
    """One image an entry of the arrays, in the order of the file; a row's path is `<array>/<entry, from 0>`.

    Labels are numbers, the names of classes, or rows of 0 and 1 with a column a class. An array `class_names` gives
    numbers their names. The set is the word in the array's name.

    Args:
        path: The file.
        arrays: Which of its arrays are images.
        headers: Of all its arrays.
        options: What the user says about it.

    Raises:
        UlfineError: An array cannot be read, or is too large.
    """

    def __init__(
        self, path: Path, arrays: Sequence[ImageArray], headers: dict[str, Header], options: SourceOptions
    ) -> None:
        self.location, self.account = str(path.absolute()), Account()
        self._path, self._headers = path, headers
        self._mtime = path.stat().st_mtime_ns
        self._lock = threading.Lock()
        self._loaded: dict[str, npt.NDArray[Any]] = {}
        self._problems: dict[str, str] = {}
        size = sum(_bytes(headers[each.images]) for each in arrays)
        if size > _MOST_BYTES:
            raise UlfineError(
                f"{path} holds {size >> 30} GiB of images, which have to fit into memory: write them as .png files or "
                "as .tar shards (docs/sources.md shows how)"
            )
        names = self._class_names()
        column, rows = LabelColumn(options.missing), []
        for each in arrays:
            rows += self._list(each, column, names)
        self.classes: Sequence[str]
        try:
            self.classes, labels = column.finish(self.account)
        except ValueError as error:
            raise UlfineError(f"{path}, {error}") from None
        self.items: Sequence[SourceItem] = [
            SourceItem(name, label, set_name, size, self._mtime)
            for (name, set_name, size), label in zip(rows, labels, strict=True)
        ]
        self._tell(arrays)

    def read(self, item: SourceItem) -> bytes:
        """Return an image as the bytes of a PNM or PNG file, without loss.

        Raises:
            OSError: It has several classes, or the file has vanished or changed since.
        """
        if item.path in self._problems:
            raise LeftOut(self._problems[item.path])
        if self._path.stat().st_mtime_ns != self._mtime:
            raise OSError("its file has changed since it was listed")
        name, _, number = item.path.rpartition("/")
        with self._lock:
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
        return _encoded(self._loaded[name][int(number)])

    def holder(self, item: SourceItem) -> str:
        """Return the path of the file that holds an image."""
        return self.location

    def _list(self, each: ImageArray, column: LabelColumn, names: Sequence[str] | None) -> list[tuple[str, str, int]]:
        header, set_name = self._headers[each.images], set_in_name(each.images)
        labels = None if each.labels is None else self._load(each.labels)
        size = _bytes(header) // header.shape[0]
        rows = []
        for number in range(header.shape[0]):
            path = f"{each.images}/{number:07d}"
            label, problem = single_class(None if labels is None else _label(labels[number], names))
            if problem:
                self._problems[path] = problem
            try:
                column.append(label, f"{each.labels}, entry {number}")
            except ValueError as error:
                raise UlfineError(f"{self._path}, {each.labels}, entry {number}: {error}") from None
            rows.append((path, set_name, size))
        return rows

    def _class_names(self) -> Sequence[str] | None:
        for name in _NAMES:
            if name in self._headers and self._headers[name].dtype.kind in "US" and len(self._headers[name].shape) == 1:
                texts = self._load(name).tolist()
                return [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in texts]
        return None

    def _load(self, name: str) -> npt.NDArray[Any]:
        try:
            # Opened here: numpy leaves a damaged archive open.
            with self._path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                return loaded_array(file, name)
        except UNREADABLE as error:
            raise OSError(f"its array {name} is damaged") from error

    def _tell(self, arrays: Sequence[ImageArray]) -> None:
        account = self.account
        account.note(f"images in the arrays {listed([each.images for each in arrays])}")
        bare = [each.images for each in arrays if each.labels is None]
        if bare:
            account.warn(f"{listed(bare)} have no array of labels of the same length: they are unlabelled")
        known = {name for each in arrays for name in each} | set(_NAMES)
        unread = sorted(set(self._headers) - known)
        if unread:
            account.note(f"not read: {listed(unread)}")
        warn_of_several(account, self._problems)


def open_arrays(path: Path, options: SourceOptions) -> ArrayImages | None:
    """List the images of an `.npz` file; None where it holds no arrays of images.

    Raises:
        UlfineError: It cannot be read.
    """
    headers = npz_headers(path)
    arrays = image_arrays(headers)
    return ArrayImages(path, arrays, headers, options) if arrays else None


def _bytes(header: Header) -> int:
    return int(np.prod(header.shape, dtype=np.int64)) * header.dtype.itemsize


def _label(value: Any, names: Sequence[str] | None) -> object:
    """Return the label of an entry: a number or a text, or a list of the columns that are 1."""
    entry = np.atleast_1d(value)
    if entry.size > 1:
        return [_named(int(place), names) for place in np.flatnonzero(entry)]
    cell = entry[0].item()
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "replace")
    return _named(int(cell), names) if isinstance(cell, bool | int) else cell


def _named(number: int, names: Sequence[str] | None) -> object:
    return names[number] if names is not None and 0 <= number < len(names) else number


def _encoded(image: npt.NDArray[Any]) -> bytes:
    """Return an image (H, W), (H, W, channels) or (channels, H, W) as a file."""
    if image.ndim == 3 and image.shape[-1] not in (1, 3, 4):
        image = image.transpose(1, 2, 0)
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.dtype == bool:
        image = image.astype(np.uint8) * np.uint8(255)
    height, width = image.shape[:2]
    if image.dtype == np.uint8 and image.shape[2:] in ((), (3,)):
        # The simplest of all formats: no library that compresses has a part in the bytes, which are hashed.
        kind = b"P6" if image.ndim == 3 else b"P5"
        return b"%s %d %d 255\n" % (kind, width, height) + np.ascontiguousarray(image).tobytes()
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
