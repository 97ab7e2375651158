"""Files in folders on a disk."""

import os
from pathlib import Path
from typing import IO

from ulfine_cache.atomic import reason
from ulfine_cache.sources.source import UNKNOWN
from ulfine_cache.sources.trees.regular_file import open_regular, read_regular, stamp
from ulfine_cache.sources.trees.tree import LEAVES, Folder, FoundFile
from ulfine_cache.sources.words.image_names import is_image_name

CIRCLE = "a link in a circle: the folder lies in itself"


class DiskTree:
    """A folder on a disk. Links are followed, but never in a circle.

    Args:
        root: The folder.
        stays_inside: Follow only links to what lies in the folder as well.
    """

    def __init__(self, root: Path, *, stays_inside: bool = False) -> None:
        # A string instead of a Path: there may be a million files.
        self._root = str(root)
        self._location = str(root.resolve())
        self._stays_inside = stays_inside
        # Device and inode of the folders on the way to each folder that was listed, itself included.
        self._ways: dict[str, tuple[tuple[int, int], ...]] = {}

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return self._location

    def folder(self, path: str) -> Folder:
        """List a folder below the root.

        Raises:
            OSError: It cannot be read, or is one of those above it.
        """
        above = self._ways.get(path.rpartition("/")[0], ()) if path else ()
        status = Path(self.place(path)).stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            raise OSError(CIRCLE)
        self._ways[path] = (*above, identity)
        found = Folder([], [], [])
        with os.scandir(self.place(path)) as entries:
            for entry in entries:
                self._sort_in(entry, found)
        found.folders.sort()
        return found

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            OSError: It cannot be read, or is something else than a file.
        """
        return open_regular(self.place(path))

    def read(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            OSError: It has vanished, may not be read, or is something else than a file.
        """
        return read_regular(self.place(path))

    def holder(self, path: str) -> str:
        """Return the path of the file on the disk that holds a file of the tree."""
        return self.place(path)

    def place(self, path: str) -> str:
        """Return where a file of the tree lies."""
        return f"{self._root}{os.sep}{path}" if path else self._root

    def _sort_in(self, entry: "os.DirEntry[str]", found: Folder) -> None:
        try:
            if self._stays_inside and entry.is_symlink() and not self._is_inside(entry.path):
                found.problems.append((entry.name, LEAVES))
            elif entry.is_dir():
                found.folders.append(entry.name)
            else:
                found.files.append(FoundFile(entry.name, *stamp(entry.path, entry.stat())))
        except OSError as error:
            # A link to nothing or in a circle. It may have been an image or a folder full of them: reading it will say.
            if "." in entry.name and is_image_name(entry.name) is False:
                found.files.append(FoundFile(entry.name, UNKNOWN, UNKNOWN))
            else:
                found.problems.append((entry.name, reason(error)))

    def _is_inside(self, place: str) -> bool:
        real = os.path.realpath(place)
        return real == self._location or real.startswith(self._location.rstrip(os.sep) + os.sep)
