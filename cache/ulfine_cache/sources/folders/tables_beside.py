"""Tables that lie beside images in folders, and whether they say what is on them."""

from collections.abc import Sequence
from typing import IO, NamedTuple

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.folders.found_folder import FoundFolder
from ulfine_cache.sources.folders.layout import Layout
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.tables.base_folder import best_base
from ulfine_cache.sources.tables.coco_table import is_coco
from ulfine_cache.sources.tables.columns import find_columns
from ulfine_cache.sources.tables.open_table import TABLES, open_table
from ulfine_cache.sources.tables.table_source import TablePart
from ulfine_cache.sources.trees.tree import FileTree, joined
from ulfine_cache.sources.words.image_names import extension, is_hidden
from ulfine_cache.sources.words.set_names import set_folders, set_in_name
from ulfine_cache.wording.counts import listed

_METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


class _Candidate(NamedTuple):
    path: str
    part: TablePart
    has_labels: bool


def tables_beside(
    tree: FileTree, root: FoundFolder, layout: Layout, options: SourceOptions, account: Account
) -> list[TablePart]:
    """Return the tables that say what the images in folders are, none where the folders say it themselves.

    - `metadata.csv`, `.jsonl` or `.parquet`, as Hugging Face's imagefolder has it, also one in each set's folder: if it
      has labels, or if there are no class folders.
    - Where there are not at least two class folders: the only table that names some of the images, or one for each of
      several sets (train.csv and test.csv, or a table in each set's folder).

    Raises:
        UlfineError: There are several and nothing says which counts, or the only one has no column of labels.
    """
    search = _Search(tree, options)
    n_classes = len({group.class_name for group in layout.groups} - {None})
    sets = set_folders(folder.name for folder in layout.top.folders)
    in_sets = [(folder, sets[folder.name]) for folder in layout.top.folders if folder.name in sets]
    metadata = search.candidates([(layout.top, ""), *in_sets], _METADATA)
    if metadata and (n_classes == 0 or any(candidate.has_labels for candidate in metadata)):
        return [candidate.part for candidate in metadata]
    way = [folder for folder in root.walk() if f"{layout.top.path}/".startswith(f"{folder.path}/") or folder is root]
    empty = [inner for folder in way for inner in folder.folders if not inner.n_images]
    beside = [(folder, "") for folder in (*way, *empty)]
    names = [joined(folder.path, name) for folder, _ in beside for name in folder.others if _is_table(name)]
    if n_classes > 1:
        if names:
            account.note(f"not read, because the folders are the classes: {listed(names)}")
        return []
    bases = [folder.path for folder in (*way, *layout.top.full())]
    found = search.candidates([*beside, *(in_sets if layout.flat_sets else ())], bases=bases)
    chosen = _chosen(found)
    if len(chosen) > 1 and len({candidate.part.set_name for candidate in chosen}) < len(chosen):
        names = [candidate.path for candidate in chosen]
        raise UlfineError(
            f"{tree.location} holds several tables of its images, {listed(names)}: give the one that counts"
        )
    if not chosen and search.refusals and (layout.flat_sets or not n_classes):
        raise search.refusals[0]
    if not chosen and names:
        why = search.refusals[0] if search.refusals else "no row names a file that is there"
        account.warn(f"not read: {listed(names)}, because {why}")
    if chosen and len(chosen) < len(found):
        rest = [candidate.path for candidate in found if candidate not in chosen]
        account.note(f"not read, because of the tables that count: {listed(rest)}")
    return [candidate.part for candidate in chosen]


def _is_table(name: str) -> bool:
    return extension(name) in TABLES and not is_hidden(name)


def _chosen(found: Sequence[_Candidate]) -> Sequence[_Candidate]:
    """Prefer tables that are called like sets, then those with labels."""
    for_sets = [candidate for candidate in found if candidate.part.set_name]
    if any(candidate.has_labels for candidate in for_sets):
        return for_sets
    labelled = [candidate for candidate in found if candidate.has_labels]
    return labelled or found


class _Search:
    """Looks for tables that name images which are there.

    Attributes:
        refusals: Why others cannot be used.
    """

    def __init__(self, tree: FileTree, options: SourceOptions) -> None:
        self.refusals: list[UlfineError] = []
        self._tree, self._options = tree, options

    def candidates(
        self, places: Sequence[tuple[FoundFolder, str]], only: Sequence[str] = (), bases: Sequence[str] = ()
    ) -> list[_Candidate]:
        """Return the tables in some folders, each with the set that its folder or its name means.

        Args:
            places: The folders, each with its set.
            only: Names that are looked at; all if there are none.
            bases: Folders besides its own that a table's paths may be relative to.
        """
        found = []
        for folder, set_name in places:
            for name in sorted(filter(_is_table, folder.others)):
                if not only or name.lower() in only:
                    found += self._candidate(joined(folder.path, name), set_name, [folder.path, *bases])
        return found

    def _candidate(self, path: str, set_name: str, bases: Sequence[str]) -> list[_Candidate]:
        tree, options = self._tree, self._options

        def opener() -> IO[bytes]:
            return tree.open(path)

        if extension(path) == ".json" and not is_coco(opener):
            return []
        try:
            table = open_table(f"{tree.location}/{path}", opener)
            columns = find_columns(table, options)
        except UlfineError as error:
            self.refusals.append(error)
            return []
        base = best_base(tree, table, columns.path, options, bases)
        if base is None:
            return []
        part = TablePart(table, base, set_name or set_in_name(path.rpartition("/")[2]))
        return [_Candidate(path, part, bool(columns.label or columns.one_hot))]
