"""Files in folders behind a URL."""

import io
from typing import IO

from ulfine_cache.remote.failures import refusal
from ulfine_cache.remote.storage import Found, listing, read
from ulfine_cache.sources.trees.regular_file import check_size
from ulfine_cache.sources.trees.remote_file import RemoteFile
from ulfine_cache.sources.trees.tree import Folder, FoundFile


class RemoteTree:
    """A folder behind a URL.

    Args:
        url: The folder.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    @property
    def location(self) -> str:
        """The folder's URL."""
        return self._url

    def folder(self, path: str) -> Folder:
        """List a folder below the root.

        Raises:
            StorageError: The storage cannot be used.
        """
        found = Folder([], [], [])
        for entry in self._listing(self.place(path)):
            if entry.is_folder:
                found.folders.append(entry.name)
            else:
                found.files.append(FoundFile(entry.name, entry.size, entry.mtime_ns))
        return found

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            OSError: It is not there or may not be read.
            StorageError: The storage cannot be used.
        """
        return io.BufferedReader(RemoteFile(self.place(path)))

    def read(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            OSError: It has vanished or may not be read.
            StorageError: The storage cannot be used.
        """
        data = read(self.place(path))
        check_size(len(data))
        return data

    def holder(self, path: str) -> str:
        """Return the URL of a file."""
        return self.place(path)

    def place(self, path: str) -> str:
        """Return where a file of the tree lies."""
        return f"{self._url}/{path}" if path else self._url

    def _listing(self, url: str) -> list[Found]:
        try:
            return listing(url)
        except PermissionError as error:
            raise refusal(url, error) from error
