"""Images in a column of Parquet or Arrow files, as Hugging Face's `datasets` has them."""

import dataclasses
import json
import os
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.arrays.column_rows import ArrowRows, ParquetRows
from ulfine_cache.sources.source import LeftOut, SourceItem
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.tables.arrow_table import ArrowTable
from ulfine_cache.sources.tables.columns import Columns, find_columns
from ulfine_cache.sources.tables.parquet_table import ParquetTable, guarded
from ulfine_cache.sources.trees.regular_file import check_size, open_regular
from ulfine_cache.sources.words.class_labels import LabelColumn, single_class, warn_of_several
from ulfine_cache.sources.words.group_names import group_name
from ulfine_cache.sources.words.image_names import extension
from ulfine_cache.sources.words.set_names import SETS, known_set, set_in_name
from ulfine_cache.wording.counts import listed

if TYPE_CHECKING:
    import pyarrow

COLUMN_FILES = (".parquet", ".arrow")
"""Endings of the files that may hold images in a column."""
_SET_NAMES = ("", *SETS)


class ColumnImages:
    """One image a row, in the order of the files' names and of their rows.

    - The column is the one that the schema calls an Image, or else the only one of bytes (or of a struct with bytes).
    - The label is the schema's only ClassLabel, whose names are the classes, or else as in tables.
    - The set is the column of one, or else the word in the file's name or in its folder's.
    - A row's path is `<file>/<row, from 0>` with the name that the row gives its image behind it. Size and time of
      change are the file's: a row's own are not known without reading it.

    Args:
        files: The files.
        top: Folder that the rows' paths are relative to.
        options: What the user says about them.
        account: Receives how they were read.
        location: What the user named them by.

    Raises:
        UlfineError: pyarrow is missing, a file cannot be read, or a column cannot be chosen.
    """

    def __init__(
        self, files: Sequence[str], top: str, options: SourceOptions, account: Account, *, location: str
    ) -> None:
        self.location, self.account = location, account
        self._files = sorted(files)
        self._starts: list[int] = []
        self._stamps: list[tuple[int, int]] = []
        self._rows: list[ArrowRows | ParquetRows] = []
        self._paths: list[str] = []
        self._problems: dict[str, str] = {}
        labels, sets = LabelColumn(options.missing), array("b")
        self._groups: list[str] = []
        for file in self._files:
            self._starts.append(len(self._paths))
            self._list(file, os.path.relpath(file, top).replace(os.sep, "/"), options, labels, sets)
        if not self._paths:
            raise UlfineError(f"{location} holds no rows of images")
        self.classes: Sequence[str]
        try:
            self.classes, indices = labels.finish(account)
        except ValueError as error:
            raise UlfineError(f"{location}, {error}") from None
        self._place = {path: place for place, path in enumerate(self._paths)}
        self.items: Sequence[SourceItem] = [
            SourceItem(path, label, _SET_NAMES[number], *self._stamps[self._file_of(place)]).of_group(group)
            for place, (path, label, number, group) in enumerate(
                zip(self._paths, indices, sets, self._groups, strict=True)
            )
        ]
        warn_of_several(account, self._problems)
        del self._paths, self._groups

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes.

        Raises:
            OSError: Its row holds none, or the file has vanished or changed since.
        """
        if item.path in self._problems:
            raise LeftOut(self._problems[item.path])
        place = self._place[item.path]
        at = self._file_of(place)
        status = Path(self._files[at]).stat()
        if (status.st_size, status.st_mtime_ns) != self._stamps[at]:
            raise OSError("its file has changed since it was listed")
        try:
            with guarded(self._files[at]):
                cell = self._rows[at].row(place - self._starts[at])
        except UlfineError as error:
            raise OSError(reason(error)) from error
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not data:
            raise OSError("its row holds no bytes of an image")
        check_size(len(data))
        return bytes(data)

    def holder(self, item: SourceItem) -> str:
        """Return the path of the file that holds an image."""
        return self._files[self._file_of(self._place[item.path])]

    def _file_of(self, place: int) -> int:
        return bisect_right(self._starts, place) - 1

    def _list(self, file: str, name: str, options: SourceOptions, labels: LabelColumn, sets: "array[int]") -> None:
        try:
            status = Path(file).stat()
        except OSError as error:
            raise UlfineError(f"cannot read {file}: {reason(error)}") from error
        self._stamps.append((status.st_size, status.st_mtime_ns))
        table = open_column_file(file)
        column = image_column(table.schema, options.path_column)
        if column is None:
            raise UlfineError(f"{file} has no column of images among {listed(list(table.columns))}: see --path-column")
        columns = find_columns(table, _with_schema(table, column, options))
        self._rows.append(ArrowRows(table, column) if isinstance(table, ArrowTable) else ParquetRows(file, column))
        if len(self._stamps) == 1:
            self._tell(columns)
        default = set_in_name(name)
        given = image_paths(table, column)
        for number, (label, set_name, group) in enumerate(_said_of_rows(table, columns)):
            where = f"{name}, row {number + 1}"
            known = known_set("" if set_name is None else str(set_name))
            own = PurePosixPath(given[number] or "").name if given else ""
            path = f"{name}/{number:07d}{'-' * bool(own)}{own}"
            try:
                label, problem = single_class(label)
                labels.append(label, where)
                if known is None:
                    raise ValueError(f"the set {set_name!r} is none of train, val, test: see --set-column")
            except ValueError as error:
                raise UlfineError(f"{file}, row {number + 1}: {error}") from None
            if problem:
                self._problems[path] = problem
            self._paths.append(path)
            self._groups.append(group_name(group))
            sets.append(_SET_NAMES.index(known or default))

    def _tell(self, columns: Columns) -> None:
        label = f"labels in {columns.label!r}" if columns.label else "no labels"
        group = f", groups in {columns.group!r}" if columns.group else ""
        unread = f"; not read: {listed(list(columns.unread))}" if columns.unread else ""
        self.account.note(f"images in the column {columns.path!r}, {label}{group}{unread}")


def open_column_file(file: str) -> ParquetTable | ArrowTable:
    """Open a Parquet or an Arrow file.

    Raises:
        UlfineError: pyarrow is missing, or it cannot be read.
    """
    return ArrowTable(file) if extension(file) == ".arrow" else ParquetTable(file, lambda: open_regular(str(file)))


def image_column(schema: "pyarrow.Schema", given: str | None = None) -> str | None:
    """Return the column that holds images as bytes, None where there is none or where it cannot be told."""
    import pyarrow

    def holds_bytes(field: Any) -> bool:
        kind = field.type
        if pyarrow.types.is_struct(kind):
            kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else None
        return kind is not None and (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

    found = [field.name for field in schema if holds_bytes(field)]
    if given is not None:
        return given if given in found else None
    known = [name for name in _features(schema, "Image") if name in found]
    return known[0] if known else found[0] if len(found) == 1 else None


def column_of_bytes(file: str, given: str | None = None) -> str | None:
    """Return the column of a file that holds images, None where there is none or its first row names a file instead.

    Raises:
        UlfineError: pyarrow is missing, or it cannot be read.
    """
    table = open_column_file(file)
    column = image_column(table.schema, given)
    if column is None or not table.n_rows:
        return column
    rows = ArrowRows(table, column) if isinstance(table, ArrowTable) else ParquetRows(file, column)
    with guarded(file):
        first = rows.row(0)
    # `to_parquet` leaves images where they are: the bytes are null then.
    return None if isinstance(first, dict) and first.get("bytes") is None and first.get("path") else column


def image_paths(table: ParquetTable | ArrowTable, column: str) -> list[str | None]:
    """Return what the rows call their images, an empty list where they do not."""
    import pyarrow

    kind = table.schema.field(column).type
    if not pyarrow.types.is_struct(kind) or kind.get_field_index("path") < 0:
        return []
    if isinstance(table, ArrowTable):
        return [name for chunk in table.table.column(column).chunks for name in chunk.field("path").to_pylist()]
    from pyarrow import parquet

    with guarded(table.name):
        cells = parquet.ParquetFile(table.name).read(columns=[f"{column}.path"])[column].to_pylist()
    return [cell and cell["path"] for cell in cells]


def _said_of_rows(table: ParquetTable | ArrowTable, columns: Columns) -> Any:
    """Yield label, set and group of each row, without reading the images."""
    # Whatever column that is cheap stands in for the images.
    stand_in = next((name for name in (columns.label, columns.set_name, columns.group, *columns.one_hot) if name), None)
    if stand_in is None:
        yield from ((None, None, None) for _ in range(table.n_rows))
        return
    for _, _, label, set_name, group in dataclasses.replace(columns, path=stand_in).cells(table):
        yield label, set_name, group


def _with_schema(table: ParquetTable | ArrowTable, column: str, options: SourceOptions) -> SourceOptions:
    """Add what the schema says to what the user says."""
    label = options.label_column
    if label is None and len(table.class_names) == 1:
        label = next(iter(table.class_names))
    return dataclasses.replace(options, path_column=column, label_column=label)


def _features(schema: "pyarrow.Schema", kind: str) -> list[str]:
    """Return the columns that `datasets` calls by the name of a kind."""
    try:
        known = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [name for name, feature in known.items() if isinstance(feature, dict) and feature.get("_type") == kind]
    except (KeyError, ValueError, TypeError, AttributeError):
        return []
