"""Tables of JSON: one object a line, or one list of objects."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.tables.table import Opener, Row


class JsonLinesTable:
    """One JSON object a line; the columns are all keys that come up, in their order.

    Args:
        name: The file's path, for messages.
        opener: Opens the file.

    Raises:
        UlfineError: It cannot be read, or a line is no JSON object.
    """

    def __init__(self, name: str, opener: Opener) -> None:
        self.name, self._open = name, opener
        columns: dict[str, None] = {}
        for _, values in self._objects():
            columns.update(dict.fromkeys(values))
        self.columns: Sequence[str] = list(columns)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with the cells of some columns, None where a line has no such key.

        Raises:
            UlfineError: It cannot be read, or a line is no JSON object.
        """
        for where, values in self._objects():
            yield Row(where, [values.get(column) for column in columns])

    def _objects(self) -> Iterator[tuple[str, dict[str, Any]]]:
        try:
            with self._open() as file:
                yield from self._parsed(file)
        except OSError as error:
            raise UlfineError(f"cannot read {self.name}: {reason(error)}") from error

    def _parsed(self, lines: IO[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UlfineError(f"{self.name}, line {number}: no JSON: {reason(error)}") from error
            if not isinstance(values, dict):
                raise UlfineError(f'{self.name}, line {number}: expected a JSON object, such as {{"path": ...}}')
            yield f"line {number}", values


class RecordsTable:
    """A list of JSON objects that has been read already.

    Args:
        name: The file's path, for messages.
        records: The objects.
    """

    def __init__(self, name: str, records: Iterable[dict[str, Any]]) -> None:
        self.name, self._records = name, list(records)
        self.columns: Sequence[str] = list(dict.fromkeys(key for record in self._records for key in record))

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with the cells of some columns, None where an object has no such key."""
        for number, record in enumerate(self._records, 1):
            yield Row(f"object {number}", [record.get(column) for column in columns])
