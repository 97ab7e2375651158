"""A tree of files, walked once: which folders hold images, and what else lies in them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ulfine_cache.atomic import reason
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.trees.tree import FileTree, FoundFile, joined, looks_like_an_image
from ulfine_cache.sources.words.ignored_names import HIDDEN, kind_of_file, kind_of_folder
from ulfine_cache.sources.words.image_names import is_hidden, is_image_name


@dataclass
class FoundFolder:
    """A folder with what lies directly in it.

    Attributes:
        name: The last part of its path.
        path: Relative to the tree, "" for its top.
        images: Its own images.
        others: Names of its own files that are no images.
        folders: The folders in it, sorted.
        problems: (path, reason) of what in it can be neither entered nor read.
        n_images: Images in it and below.
        n_files: Other files in it and below.
    """

    name: str
    path: str
    images: list[FoundFile] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: "list[FoundFolder]" = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    n_images: int = 0
    n_files: int = 0

    def walk(self) -> "Iterator[FoundFolder]":
        """Yield this folder and all below it, each before those in it."""
        waiting: list[FoundFolder] = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += reversed(folder.folders)

    def full(self) -> "list[FoundFolder]":
        """Return the folders directly in it that hold images, at any depth."""
        return [folder for folder in self.folders if folder.n_images]


def walk_tree(tree: FileTree, account: Account) -> FoundFolder:
    """Walk through all folders of a tree and count what is no image.

    Raises:
        OSError: The top of the tree cannot be read.
    """
    top = FoundFolder("", "")
    _fill(top, tree, account)
    waiting, order = [top], []
    while waiting:
        folder = waiting.pop()
        order.append(folder)
        for inner in folder.folders:
            try:
                _fill(inner, tree, account)
            except OSError as error:
                inner.problems.append((inner.path, reason(error)))
        waiting += folder.folders
    for folder in reversed(order):
        folder.n_images = len(folder.images) + sum(inner.n_images for inner in folder.folders)
        folder.n_files = len(folder.others) + sum(inner.n_files for inner in folder.folders)
    return top


def _fill(folder: FoundFolder, tree: FileTree, account: Account) -> None:
    found = tree.folder(folder.path)
    for name in found.folders:
        path = joined(folder.path, name)
        if kind := kind_of_folder(name):
            _count(tree, path, kind, account)
        else:
            folder.folders.append(FoundFolder(name, path))
    for file in found.files:
        if is_hidden(file.name) or not _is_image(tree, joined(folder.path, file.name)):
            account.ignore(kind_of_file(file.name))
            folder.others.append(file.name)
        else:
            folder.images.append(file)
    for name, why in found.problems:
        if is_hidden(name):
            account.ignore(HIDDEN)
        else:
            folder.problems.append((joined(folder.path, name), why))


def _is_image(tree: FileTree, path: str) -> bool:
    known = is_image_name(path)
    return looks_like_an_image(tree, path) if known is None else known


def _count(tree: FileTree, top: str, kind: str, account: Account) -> None:
    """Count the files below a folder that is of no interest."""
    waiting = [top]
    while waiting:
        path = waiting.pop()
        try:
            found = tree.folder(path)
        except OSError:
            continue
        account.ignore(kind, len(found.files) + len(found.problems))
        waiting += [joined(path, name) for name in found.folders]
