"""Parquet tables, piece by piece."""

import io
import json
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.tables.table import Opener, Row

if TYPE_CHECKING:
    import pyarrow

_BATCH_ROWS = 65_536


class ParquetTable:
    """A Parquet file. Where Hugging Face's `datasets` wrote it, numbers of classes become their names.

    Args:
        name: The file's path, for messages.
        opener: Opens the file.

    Raises:
        UlfineError: pyarrow is missing, or the file cannot be read.
    """

    def __init__(self, name: str, opener: Opener) -> None:
        self.name, self._open = name, opener
        parquet = _import_parquet(name)
        with guarded(name), opener() as file, parquet.ParquetFile(_wound_back(file)) as table:
            self.schema: pyarrow.Schema = table.schema_arrow
            self.n_rows: int = table.metadata.num_rows
        self.columns: Sequence[str] = self.schema.names
        self.class_names = class_labels(self.schema)

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Yield the rows with the cells of some columns.

        Raises:
            UlfineError: The file cannot be read.
        """
        parquet = _import_parquet(self.name)
        names = [self.class_names.get(column) for column in columns]
        number = 0
        with guarded(self.name), self._open() as file, parquet.ParquetFile(_wound_back(file)) as table:
            for batch in table.iter_batches(_BATCH_ROWS, columns=list(columns)):
                cells = [
                    named_cells(batch.column(column).to_pylist(), known)
                    for column, known in zip(columns, names, strict=True)
                ]
                for row in zip(*cells, strict=True):
                    number += 1
                    yield Row(f"row {number}", row)


@contextmanager
def guarded(name: str) -> Generator[None]:
    """Turn what pyarrow raises into one line.

    Raises:
        UlfineError: pyarrow is missing, or the file cannot be read.
    """
    _import_parquet(name)
    import pyarrow

    try:
        yield
    except (OSError, UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise UlfineError(f"cannot read {name}: {reason(error)}") from error


def class_labels(schema: "pyarrow.Schema") -> dict[str, list[str]]:
    """Return the class names of each column that `datasets` calls a ClassLabel in the schema's metadata."""
    try:
        known = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: feature["names"] for name, feature in known.items() if feature.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {name: [str(each) for each in names] for name, names in found.items() if isinstance(names, list)}


def open_parquet(path: str) -> Any:
    """Open a Parquet file for reading in small pieces."""
    return _import_parquet(path).ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)


def named_cells(cells: list[Any], names: list[str] | None) -> list[Any]:
    """Return the names of classes instead of their numbers, None for -1; all as it is where there are no names."""
    if names is None:
        return cells
    return [names[cell] if isinstance(cell, int) and 0 <= cell < len(names) else None for cell in cells]


def _wound_back(file: IO[bytes]) -> IO[bytes]:
    """Return a file whose end can be read first; of what lies in an archive only a copy can."""
    return file if file.seekable() else io.BytesIO(file.read())


def _import_parquet(name: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UlfineError(f"{name} needs pyarrow: pip install 'ulfine-fast[parquet]', or write a CSV file") from error
    return parquet
