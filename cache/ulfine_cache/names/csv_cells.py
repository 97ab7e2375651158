r"""CSV files whose cells no spreadsheet runs: every CSV file of this project is written here.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, also after a tab or a line
break, and a formula can start programs. Such a name gets an apostrophe in front, which spreadsheets take for "this is
text"; so does a name that begins with apostrophes before one of these. Reading takes one apostrophe off again.
"""

import contextlib
import csv
import io
import re
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from ulfine_cache.names.written import is_name, readable

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_GUARDED = re.compile("''*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def to_cell(name: str) -> str:
    """Give a name as the text of a cell.

    Example:
        >>> to_cell("=1+1.jpg"), to_cell("'-x"), to_cell("a.jpg")
        ("'=1+1.jpg", "''-x", 'a.jpg')
    """
    # Surrogates that stand for no byte of a file name cannot be written.
    name = name if is_name(name) else readable(name)
    return f"'{name}" if _FORMULA.match(name) else name


def from_cell(text: str) -> str:
    """Give the name that a cell was made of; other cells as they are.

    Example:
        >>> from_cell("'=1+1.jpg"), from_cell("'quoted'")
        ('=1+1.jpg', "'quoted'")
    """
    return text[1:] if _GUARDED.match(text) else text


@contextlib.contextmanager
def csv_lines(path: Path, *, end: str = "\n") -> Generator[Callable[..., None]]:
    r"""Open a CSV file in UTF-8 for writing.

    File names are bytes on POSIX: those that are not UTF-8 are written exactly as they were.

    Args:
        path: The file; an existing one is replaced.
        end: What ends a line.

    Yields:
        A function that writes one line: of names, which are guarded, and of figures, which are not.

    Example:
        >>> with csv_lines(Path("p.csv")) as write:
        ...     write(["-a.jpg"], ["0.5"])
        >>> Path("p.csv").read_text()
        "'-a.jpg,0.5\n"
    """
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        yield _line_writer(file, end)


def csv_bytes(lines: Iterable[Sequence[str]]) -> bytes:
    r"""Give lines of names as they stand in a file of `csv_lines`, for who writes the bytes himself.

    Example:
        >>> csv_bytes([["-a.jpg", "x,y"]])
        b'\'-a.jpg,"x,y"\n'
    """
    text = io.StringIO(newline="")
    write = _line_writer(text, "\n")
    for line in lines:
        write(line)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _line_writer(file: TextIO, end: str) -> Callable[..., None]:
    writer = csv.writer(file, lineterminator=end)
    # Python's writer leaves a carriage return bare that is no part of the end of a line; readers end a line there.
    quoting = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)

    def write(names: Sequence[str], figures: Sequence[object] = ()) -> None:
        chosen = quoting if any("\r" in name for name in names) else writer
        chosen.writerow([*map(to_cell, names), *figures])

    return write
