"""Tables that the user has named, and where the images they speak of are."""

import io
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.places import url_of
from ulfine_cache.remote.storage import read
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.tables.base_folder import fitting_bases
from ulfine_cache.sources.tables.columns import find_columns
from ulfine_cache.sources.tables.open_table import open_table
from ulfine_cache.sources.tables.table import Table
from ulfine_cache.sources.tables.table_source import TablePart, TableSource
from ulfine_cache.sources.trees.disk_tree import DiskTree
from ulfine_cache.sources.trees.regular_file import open_regular
from ulfine_cache.sources.trees.remote_file import is_url
from ulfine_cache.sources.trees.remote_tree import RemoteTree
from ulfine_cache.sources.trees.tree import FileTree
from ulfine_cache.sources.words.set_names import set_in_name


def open_tables(files: Sequence[Path], options: SourceOptions, location: str) -> TableSource:
    """List the images of tables.

    Paths are relative to the table's folder, or to `options.root`. Where none of the first files is there, but all are
    in one of the folders beside the table, they are taken from there.

    Args:
        files: The tables; where there are several, the word of a set in a file's name is the set of its rows.
        options: What the user says about them.
        location: What the user named them by.

    Raises:
        UlfineError: A table cannot be read, a row is wrong, or the images are not there.
    """
    root = options.root
    if root is not None and url_of(root) is not None:
        return open_remote_tables([str(file.absolute()) for file in files], options, location)
    if root is not None and not root.is_dir():
        raise UlfineError(f"--root {root} is no folder")
    top = Path(os.path.commonpath([file.absolute().parent for file in files])) if root is None else root.absolute()
    # Links in a folder that the user has named are the user's own.
    tree = DiskTree(top, stays_inside=root is None)
    account = Account()
    parts = []
    for file in files:
        table = open_table(str(file), lambda file=file: open_regular(str(file)))
        own = "" if root is not None else file.absolute().parent.relative_to(top).as_posix().removeprefix(".")
        base = _base(tree, table, own, options, account)
        parts.append(TablePart(table, base, set_in_name(file.name) if len(files) > 1 else ""))
    return TableSource(tree, parts, options, account, location=location, tops=(str(top), tree.location))


def open_remote_tables(files: Sequence[str], options: SourceOptions, location: str) -> TableSource:
    """List the images of tables that lie behind URLs, or whose images do; otherwise as `open_tables`.

    Args:
        files: The tables, URLs or absolute paths.
        options: What the user says about them.
        location: What the user named them by.

    Raises:
        UlfineError: As there, or the storage cannot be used.
    """
    root = None if options.root is None else url_of(options.root)
    if root is None and options.root is not None:
        raise UlfineError(f"--root {options.root} is on this machine, and {files[0]} is not: give both in one place")
    folders = [file.rpartition("/")[0] for file in files]
    top = root or _common(folders)
    tree, account, parts = RemoteTree(top), Account(), list[TablePart]()
    for file, folder in zip(files, folders, strict=True):
        table = open_table(file, partial(_opened, file))
        own = "" if root is not None else folder[len(top) :].lstrip("/")
        base = _base(tree, table, own, options, account)
        parts.append(TablePart(table, base, set_in_name(file.rpartition("/")[2]) if len(files) > 1 else ""))
    return TableSource(tree, parts, options, account, location=location, tops=(top,))


def _opened(file: str) -> IO[bytes]:
    # As a whole: tables are read several times, and some from their end.
    return io.BytesIO(read(file)) if is_url(file) else open_regular(file)


def _common(folders: Sequence[str]) -> str:
    keys = [folder.partition("://")[2] for folder in folders]
    return f"{folders[0].partition('://')[0]}://{os.path.commonpath(keys)}"


def _base(tree: FileTree, table: Table, own: str, options: SourceOptions, account: Account) -> str:
    """Return the folder that a table's paths are relative to: its own, or the only one in it that has the files."""
    column = find_columns(table, options).path
    if fitting_bases(tree, table, column, options, [own]):
        return own
    try:
        folders = [f"{own}/{name}".lstrip("/") for name in tree.folder(own).folders]
    except OSError:
        return own
    fitting = fitting_bases(tree, table, column, options, folders)
    if len(fitting) != 1:
        return own
    account.note(f"the paths of {Path(table.name).name} are taken from the folder {fitting[0]}, where the files are")
    return fitting[0]
