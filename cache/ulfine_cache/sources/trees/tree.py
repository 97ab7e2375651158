"""What the sources need to know about files in folders, whether these lie on a disk or in an archive."""

from typing import IO, NamedTuple, Protocol

from ulfine_cache.pictures.signatures import HEAD_BYTES
from ulfine_cache.sources.words.image_names import is_image_head

LEAVES = "a link that leads out of the folder"
"""The problem of a link that a tree does not follow."""


class FoundFile(NamedTuple):
    """A file in a folder; size and time of change (ns) are -1 where it cannot be read."""

    name: str
    size: int
    mtime_ns: int


class Folder(NamedTuple):
    """What a folder holds.

    Attributes:
        folders: Names of the folders in it that can be entered, sorted.
        files: All else, hidden files included, in any order.
        problems: (name, reason) of what can be neither entered nor read.
    """

    folders: list[str]
    files: list[FoundFile]
    problems: list[tuple[str, str]]


class FileTree(Protocol):
    """Files in folders. Paths are relative to its top, with "/"; the top itself is ""."""

    @property
    def location(self) -> str:
        """Where it is: the absolute path of a folder or of an archive."""
        ...

    def folder(self, path: str) -> Folder:
        """List a folder.

        Raises:
            OSError: There is none of that name, or it cannot be read.
        """
        ...

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            OSError: There is none of that name, or it cannot be read.
        """
        ...

    def read(self, path: str) -> bytes:
        """Return a file's bytes; any number of threads may call at once.

        Raises:
            OSError: There is none of that name, or it cannot be read.
        """
        ...

    def holder(self, path: str) -> str:
        """Return the path of the file on the disk that holds a file of the tree."""
        ...


def looks_like_an_image(tree: FileTree, path: str) -> bool:
    """Tell whether a file whose name does not say so is an image, by its first bytes."""
    return is_image_head(head(tree, path))


def head(tree: FileTree, path: str) -> bytes:
    """Return the first bytes of a file, none where it cannot be read."""
    try:
        with tree.open(path) as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def joined(folder: str, name: str) -> str:
    """Return the path of what is called `name` in a folder."""
    return f"{folder}/{name}" if folder else name
