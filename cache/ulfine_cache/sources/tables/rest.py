"""What lies beside the images that a table names."""

from collections.abc import Set

from ulfine_cache.sources.account import Account
from ulfine_cache.sources.trees.tree import FileTree, joined, looks_like_an_image
from ulfine_cache.sources.words.ignored_names import HIDDEN, UNNAMED, kind_of_file, kind_of_folder
from ulfine_cache.sources.words.image_names import is_hidden, is_image_name

_MOST = 100_000
"""A table may lie in a folder with much else: that many files more than rows are counted, then it is given up."""


def count_rest(tree: FileTree, named: Set[str], account: Account) -> None:
    """Count the files of a tree that no row names.

    Args:
        tree: The files.
        named: Paths that are rows.
        account: Receives the counts.
    """
    waiting, kind_of, seen = [""], {"": ""}, 0
    while waiting:
        folder = waiting.pop()
        above = kind_of.pop(folder)
        try:
            found = tree.folder(folder)
        except OSError:
            continue
        seen += len(found.files)
        for file in found.files:
            path = joined(folder, file.name)
            if path not in named:
                account.ignore(above or _kind(tree, path, file.name))
        if seen > _MOST + 2 * len(named):
            account.note(f"{tree.location} holds much more than the table names: it was not counted to the end")
            return
        for name in found.folders:
            path = joined(folder, name)
            waiting.append(path)
            kind_of[path] = above or kind_of_folder(name)


def _kind(tree: FileTree, path: str, name: str) -> str:
    if is_hidden(name):
        return HIDDEN
    known = is_image_name(name)
    image = looks_like_an_image(tree, path) if known is None else known
    return UNNAMED if image else kind_of_file(name)
