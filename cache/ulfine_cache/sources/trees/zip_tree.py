"""A zip file as a tree of folders, without unpacking it."""

import io
import stat
import zipfile
import zlib
from pathlib import Path
from typing import IO

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.trees.archive_tree import ArchiveFile, ArchiveFolders, safe_path
from ulfine_cache.sources.trees.regular_file import check_size
from ulfine_cache.sources.trees.tree import Folder

_UTF8 = 0x800
_ENCRYPTED = 0x1
_NO_TIME = (1980, 1, 1, 0, 0, 0)


class ZipTree:
    """Files in a zip file; nothing is extracted, and one at a time is expanded, up to the limit for files on a disk.

    Args:
        path: The zip file.
        account: Receives how many names come again.

    Raises:
        UlfineError: It cannot be read, or is no whole zip file.
    """

    def __init__(self, path: Path, account: Account) -> None:
        self.location = str(path.absolute())
        try:
            self._mtime = path.stat().st_mtime_ns
            # Kept open, because opening it again would read its whole directory again.
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise UlfineError(f"{path} is no zip file, or it is cut off: download it again") from error
        except (OSError, ValueError, NotImplementedError) as error:
            raise UlfineError(f"cannot read {path}: {reason(error)}") from error
        named = [info for info in self._zip.infolist() if safe_path(_name(info))]
        folders = [safe_path(_name(info)) for info in named if info.is_dir()]
        infos = [info for info in named if not info.is_dir()]
        del named
        # A million members take a gigabyte otherwise; they are opened by what is in `infos`.
        self._zip.NameToInfo.clear()
        self._zip.filelist.clear()
        for info in infos:
            info.date_time = _NO_TIME
        self._folders = ArchiveFolders((self._file(info) for info in infos), account, folders)
        self._infos = infos

    def folder(self, path: str) -> Folder:
        """List a folder.

        Raises:
            OSError: There is none of that name.
        """
        return self._folders.folder(path)

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading.

        Raises:
            OSError: There is none of that name, or it cannot be read.
        """
        info = self._info(path)
        check_size(info.file_size)
        try:
            return io.BufferedReader(_Member(self._zip.open(info)))
        except (zipfile.BadZipFile, RuntimeError, ValueError) as error:
            raise OSError(f"damaged in the zip file: {reason(error)}") from error

    def read(self, path: str) -> bytes:
        """Return a file's bytes.

        Raises:
            OSError: There is none of that name, it is damaged, or the zip file has changed.
        """
        if Path(self.location).stat().st_mtime_ns != self._mtime:
            raise OSError("its zip file has changed since it was listed")
        with self.open(path) as file:
            return file.read()

    def holder(self, path: str) -> str:
        """Return the path of the file on the disk that holds a file of the tree."""
        return self.location

    def _info(self, path: str) -> zipfile.ZipInfo:
        place = self._folders.place.get(path)
        if place is None:
            raise FileNotFoundError(2, "no such file or directory", path)
        return self._infos[place]

    def _file(self, info: zipfile.ZipInfo) -> ArchiveFile:
        problem = ""
        if stat.S_ISLNK(info.external_attr >> 16):
            problem = "a link in the zip file"
        elif info.flag_bits & _ENCRYPTED:
            problem = "encrypted in the zip file"
        return ArchiveFile(safe_path(_name(info)), info.file_size, self._mtime, problem)


class _Member(io.RawIOBase):
    """A member whose damage is an OSError, as that of a file on a disk."""

    def __init__(self, member: IO[bytes]) -> None:
        self._member = member

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        try:
            data = self._member.read(len(buffer))
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
            raise OSError(f"damaged in the zip file: {reason(error)}") from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._member.close()
        super().close()


def _name(info: zipfile.ZipInfo) -> str:
    """Return a member's name; many programs write UTF-8 without saying so, which zipfile reads as code page 437."""
    if not info.flag_bits & _UTF8 and not info.filename.isascii():
        try:
            return info.filename.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return info.filename
