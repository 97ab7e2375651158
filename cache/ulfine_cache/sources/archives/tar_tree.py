"""Tar files as a tree of folders: each is a folder, and so is a tar file in a tar file, as ImageNet has them."""

import io
from collections.abc import Iterator, Sequence
from typing import IO

from ulfine_cache.sources.account import Account
from ulfine_cache.sources.archives.tar_members import TarMember, inner_members, tar_members
from ulfine_cache.sources.trees.archive_tree import ArchiveFile, ArchiveFolders
from ulfine_cache.sources.trees.regular_file import read_part, stamp_of
from ulfine_cache.sources.trees.tree import Folder, joined
from ulfine_cache.sources.words.image_names import extension

TAR = ".tar"


class TarTree:
    """Files in tar files; nothing is extracted.

    A tar file is a folder of its own name, and one within another is a folder of its name without `.tar`. What lies in
    front of the damage of a tar file is used, and the file itself is listed with what is wrong.

    Args:
        tars: The tar files, absolute.
        names: What they are called in the tree.
        location: What the user named them by.
        account: Receives how many names come again.

    Raises:
        UlfineError: A file is compressed.
    """

    def __init__(self, tars: Sequence[str], names: Sequence[str], location: str, account: Account) -> None:
        self.location = location
        self._tars: list[str] = []
        self._offsets: list[int] = []
        self._files: list[ArchiveFile] = []
        named: list[str] = []
        for tar, name in zip(tars, names, strict=True):
            self._list(tar, name, named)
        self._folders = ArchiveFolders(self._files, account, named)

    def folder(self, path: str) -> Folder:
        """List a folder.

        Raises:
            OSError: There is none of that name.
        """
        return self._folders.folder(path)

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            OSError: There is none of that name, or its tar file has changed since.
        """
        return io.BytesIO(self.read(path))

    def read(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            OSError: There is none of that name, or its tar file has vanished or changed since.
        """
        place = self._folders.place.get(path)
        if place is None:
            raise FileNotFoundError(2, "no such file or directory", path)
        file = self._files[place]
        return read_part(self._tars[place], self._offsets[place], file.size, file.mtime_ns)

    def holder(self, path: str) -> str:
        """Return the path of the file on the disk that holds a file of the tree."""
        return self._tars[self._folders.place[path]] if path in self._folders.place else ""

    def _list(self, tar: str, name: str, named: list[str]) -> None:
        size, mtime = stamp_of(tar)
        folders: list[str] = []
        members, damage = tar_members(tar, lambda _: False, 0, folders=folders)
        named += [joined(name, folder) for folder in folders if folder]
        for path, member, problem in _expanded(tar, name, members, named):
            self._append(tar, path, member.offset, ArchiveFile(path, member.size, mtime, problem))
        if damage:
            self._append(tar, name, 0, ArchiveFile(name, size, mtime, damage))

    def _append(self, tar: str, path: str, offset: int, file: ArchiveFile) -> None:
        self._tars.append(tar)
        self._offsets.append(offset)
        self._files.append(file)


def _expanded(
    tar: str, name: str, members: Sequence[TarMember], named: list[str]
) -> Iterator[tuple[str, TarMember, str]]:
    """Yield (path, member, problem) of all members, those of tar files within it instead of these.

    `named` receives the folders in these.
    """
    for member in members:
        path = joined(name, member.name)
        if extension(member.name) != TAR or member.problem:
            yield path, member, member.problem
            continue
        # A tar file of a class may be empty.
        folders = [""]
        inner, damage = inner_members(tar, member.offset, member.size, folders)
        named += [joined(path[: -len(TAR)], folder).rstrip("/") for folder in folders]
        for each in inner:
            yield joined(path[: -len(TAR)], each.name), each, each.problem
        if damage:
            yield path, member, damage
