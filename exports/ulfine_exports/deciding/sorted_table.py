"""The table of sorted images: what lies where, and where it was. It is written before any file is touched."""

import csv
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, cast, get_args

from ulfine_cache.atomic import replacing
from ulfine_cache.errors import UlfineError
from ulfine_cache.names.csv_cells import csv_lines, from_cell

TABLE = "sorted.csv"
"""Its name in the folder that is sorted into."""

How = Literal["copy", "link", "move"]

_COLUMNS = ["path", "sorted", "label", "how", "confidence"]


@dataclass(frozen=True)
class Placed:
    """One image.

    Attributes:
        path: Where it was, absolute.
        place: Where it goes, relative to the folder that is sorted into, with ``/``.
        label: The most probable class.
        how: Whether it is copied, linked or moved.
        confidence: 0 to 1.
    """

    path: str
    place: str
    label: str
    how: How
    confidence: float


def write_table(folder: Path, placed: list[Placed]) -> None:
    """Write the table, complete or not at all."""
    with replacing(folder / TABLE) as partial, csv_lines(partial) as write:
        write(_COLUMNS)
        for item in placed:
            write([item.path, item.place, item.label, item.how], [f"{item.confidence:.7g}"])


def read_table(folder: Path) -> list[Placed]:
    """Read the table.

    Raises:
        UlfineError: There is none, it is damaged, or a place lies outside of the folder.
    """
    file = folder / TABLE
    if not file.is_file():
        raise UlfineError(f"{folder} holds no {TABLE}: name a folder that `ulfine sort` wrote")
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
            lines = csv.reader(opened)
            if next(lines) != _COLUMNS:
                raise ValueError("other columns")
            found = [_placed(line) for line in lines]
    except (OSError, ValueError, StopIteration, csv.Error) as error:
        raise UlfineError(f"{file} is no table of `ulfine sort` ({error}): move the images by hand") from error
    return found


def _placed(line: list[str]) -> Placed:
    path, place, label, how, confidence = (*map(from_cell, line[:4]), *line[4:])
    parts = PurePosixPath(place).parts
    if how not in get_args(How) or len(parts) != 2 or ".." in parts or "\\" in place or not Path(path).is_absolute():
        raise ValueError(f"{place!r} is no place in the folder")
    return Placed(path, place, label, cast(How, how), float(confidence))
