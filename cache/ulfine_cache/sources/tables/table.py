"""A table as its file has it: named columns and rows, whatever the format."""

from collections.abc import Callable, Iterator, Sequence
from typing import IO, NamedTuple, Protocol, TypeAlias

Opener: TypeAlias = Callable[[], IO[bytes]]
"""Opens the table's file for reading, as often as it is called."""


class Row(NamedTuple):
    """One row: where it stands, such as "line 2", and the cells of the columns that were asked for."""

    where: str
    cells: Sequence[object]


class Table(Protocol):
    """A table that can be read again and again, row by row."""

    @property
    def name(self) -> str:
        """The path of its file, for messages."""
        ...

    @property
    def columns(self) -> Sequence[str]:
        """Names of its columns."""
        ...

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with the cells of some columns.

        Raises:
            UlfineError: The file cannot be read, or a row is damaged; the message names it.
        """
        ...
