"""Which folder the paths of a table are relative to."""

from collections.abc import Sequence
from itertools import islice

from ulfine_cache.sources.source import UNKNOWN
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.tables.table import Table
from ulfine_cache.sources.tables.table_paths import TablePaths
from ulfine_cache.sources.trees.tree import FileTree

_TRIED_ROWS = 50


def best_base(tree: FileTree, table: Table, column: str, options: SourceOptions, bases: Sequence[str]) -> str | None:
    """Return the folder in which most of a table's first files are, the first of equals; None if none is in any.

    Args:
        tree: The files.
        table: The table.
        column: The one with the paths.
        options: What the user says about it.
        bases: Folders of the tree that may be meant.
    """
    counts = {base: _found_rows(tree, table, column, options, base) for base in dict.fromkeys(bases)}
    best = max(counts, key=lambda base: counts[base])
    return best if counts[best] else None


def fitting_bases(tree: FileTree, table: Table, column: str, options: SourceOptions, bases: Sequence[str]) -> list[str]:
    """Return all folders in which at least one of a table's first files is."""
    return [base for base in bases if _found_rows(tree, table, column, options, base)]


def _found_rows(tree: FileTree, table: Table, column: str, options: SourceOptions, base: str) -> int:
    paths, found = TablePaths(tree, options.extension), 0
    for row in islice(table.rows([column]), _TRIED_ROWS):
        try:
            _, size, _ = paths.find(row.cells[0], base)
        except ValueError:
            continue
        found += size != UNKNOWN
    return found
