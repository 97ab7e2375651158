"""The folders of an archive, made from a list of its files."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ulfine_cache.sources.account import Account
from ulfine_cache.sources.trees.tree import Folder, FoundFile
from ulfine_cache.sources.words.ignored_names import TWICE

_TWICE = "its name comes more than once in the archive"


class ArchiveFile(NamedTuple):
    """A file in an archive: its safe path, bytes, the archive's time of change, and why it cannot be read, or ""."""

    path: str
    size: int
    mtime_ns: int
    problem: str = ""


class ArchiveFolders:
    """Files of an archive, sorted into folders.

    Args:
        files: All files; folders are made of their paths.
        account: Receives how many names come again.
        folders: Safe paths of folders that the archive names itself; of empty ones nothing else is there.
    """

    def __init__(self, files: Iterable[ArchiveFile], account: Account, folders: Sequence[str] = ()) -> None:
        self._folders: dict[str, Folder] = {"": Folder([], [], [])}
        self.place: dict[str, int] = {}
        """Where each path stands among the files."""
        twice: set[str] = set()
        for place, file in enumerate(files):
            folder, _, name = file.path.rpartition("/")
            if file.path in self.place:
                account.ignore(TWICE)
                twice.add(file.path)
                continue
            self.place[file.path] = place
            found = self._made(folder)
            if file.problem:
                found.problems.append((name, file.problem))
            else:
                found.files.append(FoundFile(name, file.size, file.mtime_ns))
        for path in folders:
            # A name that is a file as well stays a file.
            if path not in self.place:
                self._made(path)
        for path in twice:
            folder, _, name = path.rpartition("/")
            found = self._folders[folder]
            if name in {file.name for file in found.files}:
                found.files[:] = [file for file in found.files if file.name != name]
                found.problems.append((name, _TWICE))
        for folder in self._folders.values():
            folder.folders.sort()

    def folder(self, path: str) -> Folder:
        """List a folder.

        Raises:
            OSError: There is none of that name.
        """
        if path not in self._folders:
            raise FileNotFoundError(path)
        found = self._folders[path]
        return Folder(list(found.folders), list(found.files), list(found.problems))

    def _made(self, path: str) -> Folder:
        if path not in self._folders:
            self._folders[path] = Folder([], [], [])
            parent, _, name = path.rpartition("/")
            self._made(parent).folders.append(name)
        return self._folders[path]


def safe_path(name: str) -> str:
    """Return a member's name as it would be extracted: without a slash in front, and without all up to the last "..".

    Example:
        >>> safe_path("/etc/a.jpg"), safe_path("x/../../b.jpg"), safe_path("./c.jpg")
        ('etc/a.jpg', 'b.jpg', 'c.jpg')
    """
    parts = [part for part in name.replace("\0", "").split("/") if part not in ("", ".")]
    if ".." in parts:
        parts = parts[len(parts) - parts[::-1].index("..") :]
    path = "/".join(parts)
    # A million names are kept once, not twice.
    return name if path == name else path
