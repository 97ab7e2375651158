"""Images that one or several tables name, one a row."""

import os
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.source import UNKNOWN, LeftOut, SourceItem
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.tables.columns import Columns, find_columns
from ulfine_cache.sources.tables.rest import count_rest
from ulfine_cache.sources.tables.table import Table
from ulfine_cache.sources.tables.table_paths import TablePaths
from ulfine_cache.sources.trees.tree import FileTree
from ulfine_cache.sources.words.class_labels import (
    LabelColumn,
    is_name,
    means_unlabelled,
    single_class,
    warn_of_several,
)
from ulfine_cache.sources.words.group_names import group_name
from ulfine_cache.sources.words.set_names import SETS, known_set, set_folders
from ulfine_cache.wording.counts import amount, listed

_SET_NAMES = ("", *SETS)


class TablePart(NamedTuple):
    """A table of a source.

    Attributes:
        table: Its rows.
        base: Folder of the tree that its paths are relative to.
        set_name: The set of the rows that do not say one.
    """

    table: Table
    base: str = ""
    set_name: str = ""


class TableSource:
    """Tables that name one image a row, in the order of their rows.

    - A path is relative to the table's folder (`--root`), with "/". The table may come from somebody else, so it names
      nothing outside of that folder: other absolute paths, "..", and links that lead out of it are refused. Links below
      `--root` are followed: there the user has named the folder.
    - Labels are read by the one rule of `words.class_labels.LabelColumn`. A row with several classes is an item whose
      `read` says so.
    - A set is one of the words of `words.set_names`. Where no table has such a column, the folders that the paths begin
      with say it, if all of them are called like sets.

    A file that is missing is an item whose `read` says so; files below the folder that no row names are counted in
    `account`.

    Args:
        tree: The files.
        parts: The tables.
        options: What the user says about them.
        account: Receives what is found beside the images.
        location: What the user named it by.
        tops: Absolute paths that the tree's top is known by.

    Raises:
        UlfineError: A table cannot be read, a row is wrong (the message names it), or none of the files is there.
    """

    def __init__(
        self,
        tree: FileTree,
        parts: Iterable[TablePart],
        options: SourceOptions,
        account: Account,
        *,
        location: str,
        tops: tuple[str, ...] = (),
    ) -> None:
        self.account, self.location, self._tree = account, location, tree
        self._paths = TablePaths(tree, options.extension, tops)
        self._labels = LabelColumn(options.missing)
        self._problems: dict[str, str] = {}
        # Columns until all classes are known: tuples of a million rows would be most of the memory.
        self._names: list[str] = []
        self._sets, self._sizes, self._times = array("b"), array("q"), array("q")
        self._groups: list[str] = []
        parts, seen, promised = list(parts), set[str](), dict[str, None]()
        for part in parts:
            columns = find_columns(part.table, options)
            promised.update(dict.fromkeys((*columns.one_hot, *getattr(part.table, "categories", ()))))
            self._tell_columns(part, columns)
            self._read(part, columns, seen)
        self.classes: Sequence[str]
        tables = " and ".join(part.table.name for part in parts)
        if not self._names:
            raise UlfineError(f"{tables} names no image: expected rows of path,label,set below the header")
        if max(self._sizes) == UNKNOWN and not self._any_there():
            count = len(self._names)
            none = f"none of the {amount(count, 'file')}" if count > 1 else "not one file"
            raise UlfineError(
                f"{none} that {tables} names is there (first: {self._names[0]}, below {tree.location}): say where "
                "they lie with --root, what their names end in with --extension, or which "
                "column names them with --path-column"
            )
        self._sets_by_folder()
        self._paths.tell(account)
        # What the paths needed takes as much as the items, which are made next.
        del self._paths
        warn_of_several(account, self._problems)
        try:
            self.classes, labels = self._labels.finish(account)
        except ValueError as error:
            raise UlfineError(f"{tables}, {error}") from None
        unused = [
            name for name in promised if is_name(name) and not (self._labels.holds(name) or means_unlabelled(name))
        ]
        if unused:
            account.note(f"no class, because no image is of it alone: {listed(unused)}")
        rows = zip(self._names, labels, self._sets, self._sizes, self._times, self._groups, strict=True)
        self.items: Sequence[SourceItem] = [
            SourceItem(name, label, _SET_NAMES[number], size, mtime).of_group(group)
            for name, label, number, size, mtime, group in rows
        ]
        del self._names, self._labels, self._sets, self._sizes, self._times, self._groups
        count_rest(tree, seen, account)

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes.

        Raises:
            LeftOut: It has several classes.
            OSError: It is missing, may not be read, or is something else than a file.
        """
        problem = self._problems.get(item.path)
        if problem:
            raise LeftOut(problem)
        return self._tree.read(item.path)

    def holder(self, item: SourceItem) -> str:
        """Return the path of the file that holds an image."""
        return self._tree.holder(item.path)

    def _read(self, part: TablePart, columns: Columns, seen: set[str]) -> None:
        default = _SET_NAMES.index(part.set_name)
        for where, path, label, set_name, group in columns.cells(part.table):
            try:
                name, size, mtime = self._paths.find(path, part.base)
                if name in seen:
                    raise ValueError(f"{name} comes a second time: leave one row for each image")
                seen.add(name)
                label, problem = single_class(label)
                self._labels.append(label, where)
                if problem:
                    self._problems[name] = problem
                    # So that it is not found again among the rows of before.
                    size, mtime = UNKNOWN, UNKNOWN
                self._sets.append(_set_number(set_name) or default)
            except ValueError as error:
                raise UlfineError(f"{part.table.name}, {where}: {error}") from None
            self._names.append(name)
            self._groups.append(group_name(group))
            self._sizes.append(size)
            self._times.append(mtime)

    def _any_there(self) -> bool:
        # What is there but may not be read has no size either.
        return any(self._tree_has(name) for name in self._names[:1000])

    def _tree_has(self, name: str) -> bool:
        try:
            self._tree.open(name).close()
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return True

    def _sets_by_folder(self) -> None:
        """Take the sets from the folders that the paths begin with, where no table says any."""
        if any(self._sets):
            return
        folders = {name.rpartition("/")[0] for name in self._names}
        for depth in range(min(folder.count("/") + bool(folder) for folder in folders)):
            names = {folder.split("/")[depth] for folder in folders}
            sets = set_folders(names)
            if len(set(sets.values())) > 1 and len(sets) == len(names):
                numbers = {name: _SET_NAMES.index(set_name) for name, set_name in sets.items()}
                self._sets = array("b", (numbers[name.split("/")[depth]] for name in self._names))
                self.account.note(f"sets by the folders {listed(sorted(names))}, because no column says them")
                return

    def _tell_columns(self, part: TablePart, columns: Columns) -> None:
        what = [f"paths in {columns.path!r}"]
        if columns.one_hot:
            what.append(f"a class in each of the {len(columns.one_hot)} columns of 0 and 1")
        elif columns.label:
            what.append(f"labels in {columns.label!r}")
        else:
            what.append("no labels")
        if columns.set_name:
            what.append(f"sets in {columns.set_name!r}")
        if columns.group:
            what.append(f"groups in {columns.group!r}")
        unread = f"; not read: {listed(list(columns.unread))}" if columns.unread else ""
        self.account.note(f"{os.path.basename(part.table.name)}: {', '.join(what)}{unread}")  # noqa: PTH119 (text)


def _set_number(value: object) -> int:
    # NaN is what is left of an empty cell in a column of numbers.
    name = "" if value is None or value != value else str(value)
    known = known_set(name)
    if known is None:
        raise ValueError(
            f"the set {name!r} is none of train, val, test, and not empty: --set-column none leaves the column out"
        )
    return _SET_NAMES.index(known)
