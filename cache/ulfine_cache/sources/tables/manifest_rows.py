"""The rows of a manifest, out of CSV or Parquet, as they stand there."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError

_BATCH_ROWS = 65_536
_OTHER_NAMES = {
    "path": ("file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "paths"),
    "label": ("labels", "class", "class_name", "cls", "category", "target"),
    "split": ("splits", "set", "subset", "fold"),
}
"""What others call the columns: taking them for unknown would make everything unlabelled without a word."""


class ManifestRow(NamedTuple):
    """One row. `where` says where it stands, such as "line 2"; the rest are the cells, None where there is none."""

    where: str
    path: object
    label: object
    split: object


def csv_rows(path: Path) -> Iterator[ManifestRow]:
    """Read a CSV file with a header and commas, UTF-8 with or without a byte order mark.

    Bytes that are not UTF-8 are kept, because file names may hold such.

    Raises:
        UlfineError: It cannot be read, or a line does not fit the header.
    """
    number = 1
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            at = _columns(path, "line 1", header)
            for row in reader:
                number = reader.line_num
                if not row:
                    continue
                where = f"line {number}"
                if len(row) > len(header):
                    count = f"{len(row)} fields under {len(header)} columns"
                    raise UlfineError(f"{path}, {where}: {count}: put text with commas in quotes")
                row += [""] * (len(header) - len(row))
                yield ManifestRow(where, *(None if column is None else row[column] for column in at))
    except OSError as error:
        raise UlfineError(f"cannot read {path}: {reason(error)}") from error
    except csv.Error as error:
        raise UlfineError(f"{path}, line {number + 1}: no CSV: {error}") from error


def parquet_rows(path: Path) -> Iterator[ManifestRow]:
    """Read a Parquet file piece by piece.

    Raises:
        UlfineError: pyarrow is missing, the file cannot be read, or a column is of a wrong type.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UlfineError(f"{path} needs pyarrow: pip install 'ulfine-fast[parquet]', or write a CSV file") from error
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            at = [None if column is None else names[column] for column in _columns(path, "its schema", names)]
            number = 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=[name for name in at if name is not None]):
                empty = [None] * len(batch)
                columns: list[list[Any]] = [empty if name is None else batch.column(name).to_pylist() for name in at]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield ManifestRow(f"row {number}", *cells)
    except (OSError, pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise UlfineError(f"cannot read {path}: {reason(error)}") from error


def _columns(path: Path, where: str, header: Sequence[str]) -> list[int | None]:
    """Return where path, label and split stand in the header."""
    for name, others in _OTHER_NAMES.items():
        twice = header.count(name) > 1
        found = next((other for other in header if other.lower() in (name, *others) and other != name), None)
        if twice:
            raise UlfineError(f"{path}, {where}: the column {name!r} comes twice")
        if found is not None and name not in header:
            raise UlfineError(f"{path}, {where}: call the column {found!r} {name!r}")
    if "path" not in header:
        have = ", ".join(repr(name) for name in header) or "none"
        raise UlfineError(f"{path}, {where}: no column 'path' (found {have}); expected path,label,split")
    return [header.index(name) if name in header else None for name in _OTHER_NAMES]
