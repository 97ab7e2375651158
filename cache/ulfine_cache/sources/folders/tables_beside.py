"""Tables that lie beside images in folders, and whether they say what is on them."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account, listed
from ulfine_cache.sources.folders.found_folder import FoundFolder
from ulfine_cache.sources.folders.layout import Layout
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.tables.base_folder import best_base
from ulfine_cache.sources.tables.coco_table import is_coco
from ulfine_cache.sources.tables.columns import find_columns
from ulfine_cache.sources.tables.open_table import TABLES, open_table
from ulfine_cache.sources.tables.table_source import TablePart
from ulfine_cache.sources.trees.tree import FileTree, joined
from ulfine_cache.sources.words.image_names import extension
from ulfine_cache.sources.words.set_names import set_folders, set_in_name

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
    - Where there are not at least two class folders: the only table that names some of the images, or those for several
      sets (train.csv, test.csv).

    Raises:
        UlfineError: There are several and nothing says which counts, or the only one has no column of labels.
    """
    n_classes = len({group.class_name for group in layout.groups} - {None})
    metadata = list(_candidates(tree, _metadata_places(layout), options, refusals := [], _METADATA))
    if metadata and (n_classes == 0 or any(candidate.has_labels for candidate in metadata)):
        return [candidate.part for candidate in metadata]
    places = [*dict.fromkeys((root.path, layout.top.path))]
    folders = [folder for folder in root.walk() if folder.path in places]
    folders += [inner for folder in folders for inner in folder.folders if not inner.n_images]
    names = [joined(folder.path, name) for folder in folders for name in folder.others if _is_table(name)]
    if n_classes > 1:
        if names:
            account.note(f"not read, because the folders are the classes: {listed(names)}")
        return []
    bases = list(dict.fromkeys([*places, *(folder.path for folder in layout.top.full())]))
    found = list(_candidates(tree, folders, options, refusals, (), bases))
    chosen = _chosen(found)
    if len(chosen) > 1 and len({candidate.part.set_name for candidate in chosen}) < len(chosen):
        names = [candidate.path for candidate in chosen]
        raise UlfineError(
            f"{tree.location} holds several tables of its images, {listed(names)}: give the one that counts"
        )
    if not chosen and refusals and (layout.flat_sets or not n_classes):
        raise refusals[0]
    if not chosen and names:
        why = f", because {refusals[0]}" if refusals else ", because no row names a file that is there"
        account.warn(f"not read: {listed(names)}{why}")
    if chosen and len(chosen) < len(found):
        rest = [candidate.path for candidate in found if candidate not in chosen]
        account.note(f"not read, because of the tables for the sets: {listed(rest)}")
    return [candidate.part for candidate in chosen]


def _is_table(name: str) -> bool:
    return extension(name) in TABLES and not name.startswith(".")


def _metadata_places(layout: Layout) -> list[FoundFolder]:
    return [layout.top, *layout.top.folders]


def _chosen(found: Sequence[_Candidate]) -> Sequence[_Candidate]:
    """Prefer tables that are called like sets, then those with labels."""
    for_sets = [candidate for candidate in found if candidate.part.set_name]
    if any(candidate.has_labels for candidate in for_sets):
        return for_sets
    labelled = [candidate for candidate in found if candidate.has_labels]
    return labelled or found


def _candidates(
    tree: FileTree,
    folders: Sequence[FoundFolder],
    options: SourceOptions,
    refusals: list[UlfineError],
    only: Sequence[str],
    bases: Sequence[str] | None = None,
) -> Iterator[_Candidate]:
    """Yield the tables in some folders that name images which are there, and collect why others cannot be used."""
    sets = set_folders(folder.name for folder in folders)
    for folder in folders:
        for name in sorted(folder.others):
            path = joined(folder.path, name)
            if not _is_table(name) or (only and name.lower() not in only):
                continue
            if extension(name) == ".json" and not is_coco(lambda path=path: tree.open(path)):
                continue
            try:
                table = open_table(_shown(tree, path), lambda path=path: tree.open(path))
                columns = find_columns(table, options)
            except UlfineError as error:
                refusals.append(error)
                continue
            base = best_base(tree, table, columns.path, options, [folder.path, *(bases or ())])
            if base is not None:
                set_name = sets.get(folder.name, "") if only else set_in_name(name)
                yield _Candidate(path, TablePart(table, base, set_name), bool(columns.label or columns.one_hot))


def _shown(tree: FileTree, path: str) -> str:
    return f"{tree.location}/{path}"
