"""Which columns of a table name the images, their classes, sets and groups."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.source_options import NO_COLUMN, SourceOptions
from ulfine_cache.sources.tables.table import Table
from ulfine_cache.sources.words.class_labels import means_unlabelled
from ulfine_cache.sources.words.image_names import is_image_name
from ulfine_cache.wording.counts import listed

_PATHS = (
    *("path", "file_name", "filename", "filepath", "file_path", "image_path", "img_path", "image_file", "image_name"),
    *(
        "image_filename",
        "img_name",
        "img_file",
        "fname",
        "paths",
        "file",
        "image",
        "img",
        "images",
        "image_id",
        "img_id",
    ),
    *("id", "name"),
)
"""What a column of paths may be called, the surest name first."""
_LABELS = (
    *("label", "labels", "class", "class_name", "classname", "class_label", "classes", "label_name", "cls"),
    *("category", "category_name", "target", "y"),
)
_SETS = ("set", "split", "sets", "splits", "subset", "partition", "data_set", "dataset_split")
_GROUPS = ("group", "groups", "group_id", "group_name")
_INDEX = re.compile(r"|Unnamed: \d+|__index_level_\d+__")
"""What pandas calls the numbers of the rows."""
_TRUE, _FALSE = ("1", "1.0", "true"), ("0", "0.0", "false", "")


@dataclass(frozen=True)
class Columns:
    """The columns that are read.

    Attributes:
        path: Names the image.
        label: Holds the class, or None.
        set_name: Holds the set, or None.
        one_hot: Columns that are classes, each with 1 in the rows of its images; empty where `label` says the class.
        unread: All others.
        group: Says what images have in common, or None.
    """

    path: str
    label: str | None
    set_name: str | None
    one_hot: Sequence[str]
    unread: Sequence[str]
    group: str | None = None

    def cells(self, table: Table) -> Iterator[tuple[str, object, object, object, object]]:
        """Yield where each row stands, and its path, label, set and group; a label may be a list of classes."""
        wanted = [self.path, *((self.label,) if self.label else self.one_hot)]
        end = len(wanted)
        wanted += [name for name in (self.set_name, self.group) if name]
        for where, cells in table.rows(wanted):
            set_name = cells[end] if self.set_name else None
            group = cells[-1] if self.group else None
            if self.label:
                yield where, cells[0], cells[1], set_name, group
            else:
                yield where, cells[0], self._hot(cells[1:end]) if self.one_hot else None, set_name, group

    def _hot(self, cells: Sequence[object]) -> list[str]:
        return [
            name
            for name, cell in zip(self.one_hot, cells, strict=True)
            if str(cell).lower() in _TRUE and not means_unlabelled(name)
        ]


def find_columns(table: Table, options: SourceOptions) -> Columns:
    """Choose the columns of a table: those that `options` name, or else those that are called as usual.

    Raises:
        UlfineError: A column is not there, comes twice or cannot be chosen; the line lists them and says the option.
    """
    names = table.columns
    path = _given(table, options.path_column, "--path-column") or _known(names, _PATHS)
    if path is None:
        hint = ""
        if any(map(is_image_name, names)):
            hint = "; is its first line the header?"
        raise UlfineError(
            f"{table.name} has no column of paths among {_list(names)}{hint}: name it with --path-column (usual are "
            "path, label, set)"
        )
    set_name = _wanted(table, options.set_column, "--set-column", _SETS, taken=[path])
    label = None
    if options.label_column != NO_COLUMN or NO_COLUMN in names:
        label = _given(table, options.label_column, "--label-column") or _known_label(table, [path, set_name])
    taken = [name for name in (path, label, set_name) if name is not None]
    group = _wanted(table, options.group_column, "--group-column", _GROUPS, taken)
    rest = [name for name in names if name not in (*taken, group) and not _INDEX.fullmatch(name)]
    one_hot: Sequence[str] = ()
    if rest and label is None and options.label_column is None:
        if not is_one_hot(table, rest):
            raise UlfineError(
                f"{table.name} has no column of labels that is called as usual: name it with --label-column, one of "
                f"{_list(rest)}, or say --label-column none if the images are unlabelled"
            )
        one_hot, rest = rest, []
    for name in [name for name in (*taken, group, *one_hot) if name is not None]:
        if list(names).count(name) > 1:
            raise UlfineError(f"{table.name}: the column {name!r} comes twice")
    return Columns(path, label, set_name, one_hot, rest, group)


def is_one_hot(table: Table, names: Sequence[str]) -> bool:
    """Tell whether at least two columns hold nothing but 0 and 1, and 1 at least once."""
    if len(set(names)) < max(2, len(names)):
        return False
    found = False
    for row in table.rows(names):
        for cell in row.cells:
            text = str(cell).lower()
            if text in _TRUE:
                found = True
            elif text not in _FALSE:
                return False
    return found


def _wanted(table: Table, given: str | None, option: str, known: Sequence[str], taken: Sequence[str]) -> str | None:
    if given == NO_COLUMN and NO_COLUMN not in table.columns:
        return None
    return _given(table, given, option) or _known([name for name in table.columns if name not in taken], known)


def _given(table: Table, name: str | None, option: str) -> str | None:
    if name is not None and name not in table.columns:
        raise UlfineError(f"{table.name} has no column {name!r}: {option} takes one of {_list(table.columns)}")
    return name


def _known(names: Sequence[str], known: Sequence[str]) -> str | None:
    """Return the first column that is called in one of the known ways, whatever its capitals and blanks."""
    plain = {_plain(name): name for name in reversed(names)}
    return next((plain[name] for name in known if name in plain), None)


def _known_label(table: Table, taken: Sequence[str | None]) -> str | None:
    names = [name for name in table.columns if name not in taken]
    found = [name for name in names if _plain(name) in _LABELS]
    if len(set(found)) < 2 or _plain(found[0]) == "label":
        return found[0] if found else None
    exact = [name for name in found if _plain(name) == "label"]
    if exact:
        return exact[0]
    raise UlfineError(f"{table.name}: {_list(found)} may all be the labels: choose one with --label-column")


def _plain(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[\s._-]+", "_", spaced).lower()


def _list(names: Sequence[str]) -> str:
    return listed([str(name) for name in names], most=12) or "nothing"
