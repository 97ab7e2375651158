"""Images in folders, on a disk or in an archive: by the folders' names, or by a table that lies beside them."""

from collections import Counter

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.arrays.column_images import COLUMN_FILES, ColumnImages, column_of_bytes
from ulfine_cache.sources.folders.found_folder import FoundFolder, walk_tree
from ulfine_cache.sources.folders.image_folder import ImageFolder
from ulfine_cache.sources.folders.layout import find_layout
from ulfine_cache.sources.folders.tables_beside import tables_beside
from ulfine_cache.sources.source import ImageSource
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.tables.table_source import TableSource
from ulfine_cache.sources.trees.disk_tree import DiskTree
from ulfine_cache.sources.trees.tree import FileTree, joined
from ulfine_cache.sources.words.image_names import extension, is_hidden


def open_tree(tree: FileTree, options: SourceOptions, account: Account) -> ImageSource:
    """List the images in folders.

    Args:
        tree: The files.
        options: What the user says about them.
        account: What the tree has found out about them itself.

    Raises:
        UlfineError: There are none, or nobody can tell what they are.
    """
    before = Account()
    before.include(account)
    try:
        root = walk_tree(tree, account)
    except OSError as error:
        raise UlfineError(f"cannot read the folder {tree.location}: {reason(error)}") from error
    if isinstance(tree, DiskTree) and not root.n_images and (files := _column_files(tree, root)):
        account.ignored.subtract(extension(file) for file in files)
        account.ignored += Counter()
        return ColumnImages(files, tree.place(""), options, account, location=tree.location)
    layout = find_layout(root)
    parts = tables_beside(tree, root, layout, options, account)
    if parts:
        names = [part.table.name.removeprefix(f"{tree.location}/") for part in parts]
        # The table's rows decide anew what is an image of the source.
        for line in (f"labels by the table {' and '.join(names)}", *account.notes):
            before.note(line)
        return TableSource(tree, parts, options, before, location=tree.location)
    return ImageFolder(tree, account, root, layout)


def _column_files(tree: DiskTree, root: FoundFolder) -> list[str]:
    """Return the Parquet and Arrow files below a folder without image files, if they hold images."""
    files = [
        tree.place(joined(folder.path, name))
        for folder in root.walk()
        for name in folder.others
        if extension(name) in COLUMN_FILES and not is_hidden(name)
    ]
    return files if files and column_of_bytes(files[0]) is not None else []
