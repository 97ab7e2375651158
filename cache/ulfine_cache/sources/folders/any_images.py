"""All images of a folder or a zip file, whatever the folders inside are called, as what is classified has no labels."""

from collections.abc import Sequence

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.folders.found_folder import FoundFolder
from ulfine_cache.sources.source import UNKNOWN, UNLABELLED, SourceItem
from ulfine_cache.sources.trees.tree import FileTree, joined


class AnyImages:
    """The images of a tree, sorted by path; see `ImageSource`.

    What can be neither entered nor read is an item whose `read` gives the reason, as in `ImageFolder`.

    Args:
        tree: The files.
        root: The tree, walked through.
        account: What is beside the images.

    Raises:
        UlfineError: There is no image.
    """

    classes: Sequence[str] = ()

    def __init__(self, tree: FileTree, root: FoundFolder, account: Account) -> None:
        self.account, self._tree = account, tree
        self._problems: dict[str, str] = {}
        items: list[SourceItem] = []
        for folder in root.walk():
            for path, why in folder.problems:
                self._problems[path] = why
                items.append(SourceItem(path, UNLABELLED, "", UNKNOWN, UNKNOWN))
            for name, size, mtime in folder.images:
                items.append(SourceItem(joined(folder.path, name), UNLABELLED, "", size, mtime))
        if not items:
            raise UlfineError(f"no images in {tree.location}")
        self.items: Sequence[SourceItem] = sorted(items)

    @property
    def location(self) -> str:
        """The absolute path of the folder or the zip file."""
        return self._tree.location

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes.

        Raises:
            OSError: It has vanished, may not be read, or is something else than a file.
        """
        if problem := self._problems.get(item.path):
            raise OSError(problem)
        return self._tree.read(item.path)

    def holder(self, item: SourceItem) -> str:
        """Return the path of the file that holds an image."""
        return self._tree.holder(item.path)
