"""Which kind of table a file is."""

from ulfine_cache.sources.tables.coco_table import json_table
from ulfine_cache.sources.tables.csv_table import CsvTable
from ulfine_cache.sources.tables.json_table import JsonLinesTable
from ulfine_cache.sources.tables.parquet_table import ParquetTable
from ulfine_cache.sources.tables.table import Opener, Table
from ulfine_cache.sources.words.image_names import extension

_KINDS = {
    ".csv": CsvTable,
    ".tsv": CsvTable,
    ".jsonl": JsonLinesTable,
    ".ndjson": JsonLinesTable,
    ".json": json_table,
    ".parquet": ParquetTable,
}

TABLES = tuple(_KINDS)
"""Endings of the files that are read as tables."""


def open_table(name: str, opener: Opener) -> Table:
    """Open a table of the kind that its name says.

    Raises:
        UlfineError: It cannot be read.
    """
    return _KINDS[extension(name)](name, opener)
