"""Text tables with a header: commas, semicolons, tabs or bars between the cells, UTF-8 or UTF-16."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.names.csv_cells import from_cell
from ulfine_cache.sources.tables.table import Opener, Row
from ulfine_cache.wording.counts import amount

_SEPARATORS = ",;\t|"
_SAMPLE = 4096


class CsvTable:
    """A text table whose first line names the columns.

    The separator is the one that the first line has most of. UTF-16 is found by its byte order mark or its zero bytes;
    all else is UTF-8, and bytes that are not are kept, because file names may hold such. Blanks around cells do not
    count, nor the apostrophe before what a spreadsheet would run (`ulfine_cache.names.csv_cells`).

    Args:
        name: The file's path, for messages.
        opener: Opens the file.

    Raises:
        UlfineError: It cannot be read.
    """

    def __init__(self, name: str, opener: Opener) -> None:
        self.name, self._open = name, opener
        try:
            with opener() as file:
                sample = file.read(_SAMPLE)
            self._encoding = _encoding(sample)
            with self._text() as text:
                first = text.readline()
                # How spreadsheets are told, in a line of its own.
                said = re.fullmatch(r"\s*\"?sep=(.)\"?\s*", first, re.IGNORECASE)
                first = text.readline() if said else first
            self._skipped = bool(said)
            self._separator = said[1] if said else max(_SEPARATORS, key=first.count)
            # Opened again, because what lies in an archive cannot be wound back.
            with self._text() as text:
                self.columns: Sequence[str] = [from_cell(cell.strip()) for cell in next(self._reader(text), [])]
        except OSError as error:
            raise UlfineError(f"cannot read {name}: {reason(error)}") from error
        except UnicodeError as error:
            raise UlfineError(f"{name} is damaged {self._encoding} text: save it as UTF-8") from error
        except csv.Error as error:
            raise UlfineError(f"{name}, line 1: no table: {error}") from error

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with the cells of some columns, "" where a line is short.

        Raises:
            UlfineError: The file cannot be read, or a line does not fit the header.
        """
        at = [self.columns.index(column) for column in columns]
        number = 1
        try:
            with self._text() as file:
                reader = self._reader(file)
                next(reader, None)
                for cells in reader:
                    number = reader.line_num + self._skipped
                    if not any(cells):
                        continue
                    if len(cells) > len(self.columns) and any(cells[len(self.columns) :]):
                        raise UlfineError(
                            f"{self.name}, line {number}: {amount(len(cells), 'field')} under "
                            f"{amount(len(self.columns), 'column')}: put text with {self._separator!r} in quotes"
                        )
                    cells += [""] * (len(self.columns) - len(cells))
                    yield Row(f"line {number}", [from_cell(cells[place].strip()) for place in at])
        except OSError as error:
            raise UlfineError(f"cannot read {self.name}: {reason(error)}") from error
        except UnicodeError as error:
            raise UlfineError(f"{self.name} is damaged {self._encoding} text: save it as UTF-8") from error
        except csv.Error as error:
            raise UlfineError(f"{self.name}, line {number + 1}: no table: {error}") from error

    def _text(self) -> TextIO:
        return io.TextIOWrapper(self._open(), self._encoding, errors="surrogateescape", newline="")

    def _reader(self, file: TextIO) -> Any:
        if self._skipped:
            file.readline()
        return csv.reader(file, strict=True, delimiter=self._separator, skipinitialspace=True)


def _encoding(sample: bytes) -> str:
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # ASCII in UTF-16: every other byte is zero.
    if len(sample) > 1 and not any(sample[1:100:2]):
        return "utf-16-le"
    if len(sample) > 1 and not any(sample[0:100:2]):
        return "utf-16-be"
    return "utf-8-sig"
