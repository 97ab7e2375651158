"""Images listed in a table: CSV or Parquet with the columns path, label and split."""

import os
import stat
from array import array
from collections.abc import Sequence
from pathlib import Path

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.source import SETS, UNKNOWN, UNLABELLED, SourceItem, known_set
from ulfine_cache.sources.tables.manifest_rows import csv_rows, parquet_rows
from ulfine_cache.sources.trees.regular_file import read_regular, stamp
from ulfine_cache.sources.words.class_labels import class_order, class_text

MANIFESTS = (".csv", ".parquet")
"""Endings of the files that are read as manifests."""

_SET_NAMES = ("", *SETS)


class Manifest:
    """A table that names one image a row, in the order of its rows.

    - `path`: relative to the table's folder, with "/". The only column that must be there.
    - `label`: the class's name; whole numbers become their text. Empty, null, NaN or -1: unlabelled. Classes are
      sorted, numbers by their value.
    - `split`: empty, train, val (or validation, valid) or test.

    Other columns are not looked at. A file that is missing is an item whose `read` says so.

    A table may come from somebody else, so it names nothing outside its own folder: absolute paths, "..", and links
    that lead out of the folder are refused. (Unlike in an `ImageFolder`, whose links the one who names the folder has
    put there.) A folder that is itself reached by a link is fine.

    Args:
        path: The table, `.csv` or `.parquet`.

    Raises:
        UlfineError: It cannot be read, or a row is wrong; the message names its line (CSV) or row (Parquet, from 1).

    Example:
        >>> Manifest(Path("photos.csv")).classes  # doctest: +SKIP
        ['beagle', 'pug']
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Strings instead of Paths from here on: there may be a million rows.
        self._folder = str(path.parent.absolute())
        self._top = os.path.realpath(self._folder)
        self._inside: dict[str, bool] = {}
        # Columns until all classes are known: tuples of a million rows would be most of the memory.
        paths: list[str] = []
        seen: set[str] = set()
        texts: dict[str, int] = {}
        labels, sets, sizes, times = array("l"), array("b"), array("q"), array("q")
        for row in csv_rows(path) if path.suffix.lower() == ".csv" else parquet_rows(path):
            try:
                name = _relative(row.path)
                if name in seen:
                    raise ValueError(f"{name} comes a second time")
                seen.add(name)
                paths.append(name)
                labels.append(texts.setdefault(class_text(row.label), len(texts)))
                sets.append(_set_number(row.split))
                size, mtime = self._stamp(name)
            except ValueError as error:
                raise UlfineError(f"{path}, {row.where}: {error}") from None
            sizes.append(size)
            times.append(mtime)
        del seen
        if not paths:
            raise UlfineError(f"{path} names no image: expected rows of path,label,split below the header")
        self.classes: Sequence[str] = class_order(text for text in texts if text)
        index = {text: label for label, text in enumerate(self.classes)} | {"": UNLABELLED}
        final = [index[text] for text in texts]
        self.items: Sequence[SourceItem] = [
            SourceItem(name, final[label], _SET_NAMES[number], size, mtime)
            for name, label, number, size, mtime in zip(paths, labels, sets, sizes, times, strict=True)
        ]

    @property
    def location(self) -> str:
        """The table's absolute path."""
        return str(self._path.resolve())

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes.

        Raises:
            OSError: It is missing, may not be read, or is something else than a file.
        """
        return read_regular(self._place(item.path))

    def _place(self, name: str) -> str:
        return f"{self._folder}{os.sep}{name}"

    def _stamp(self, name: str) -> tuple[int, int]:
        """Return size and time of change of a file, or (-1, -1) if it cannot be read.

        Raises:
            ValueError: A link leads out of the folder.
        """
        place = self._place(name)
        parent = place.rpartition("/")[0]
        if parent not in self._inside:
            self._inside[parent] = self._is_inside(parent)
        inside = self._inside[parent]
        try:
            status = os.lstat(place)
            if stat.S_ISLNK(status.st_mode):
                inside = inside and self._is_inside(place)
                status = Path(place).stat()
            known = stamp(place, status)
        except OSError:
            known = UNKNOWN, UNKNOWN
        if not inside:
            raise ValueError(
                f"{name} is reached by a link that leaves {self._folder}: put the table into a folder that holds the "
                "images"
            )
        return known

    def _is_inside(self, place: str) -> bool:
        real = os.path.realpath(place)
        return real == self._top or real.startswith(self._top.rstrip(os.sep) + os.sep)


def _relative(value: object) -> str:
    """Return a row's path without "." and doubled slashes.

    Raises:
        ValueError: It is no path below the table's folder.
    """
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("no path")
    if os.sep != "/":
        value = value.replace(os.sep, "/")
    if value.startswith("/") or (os.name == "nt" and Path(value).drive):
        raise ValueError(f"{value} is absolute: paths are relative to the table's folder")
    if "/." not in value and "//" not in value and value[0] != "." and value[-1] != "/":
        return value
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if ".." in parts or not parts:
        raise ValueError(f"{value} leaves the table's folder: put the table into a folder that holds the images")
    return "/".join(parts)


def _set_number(value: object) -> int:
    name = "" if value is None else value.strip() if isinstance(value, str) else str(value)
    known = known_set(name)
    if known is None:
        raise ValueError(f"the split {name!r} is none of train, val, test, and not empty")
    return _SET_NAMES.index(known)
