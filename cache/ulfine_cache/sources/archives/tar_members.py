"""Walk over the headers of an uncompressed tar file, whatever its state."""

import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.foreign_file import stand_in
from ulfine_cache.pictures.signatures import HEAD_BYTES
from ulfine_cache.sources.trees.archive_tree import safe_path
from ulfine_cache.sources.trees.regular_file import open_regular
from ulfine_cache.sources.trees.remote_file import is_url
from ulfine_cache.sources.words.image_names import is_hidden, is_image_head, is_image_name

_BUFFER = 1 << 16
_NO_TAR = "not a tar file"
_BLOCK = tarfile.BLOCKSIZE
_COMPRESSED = ((b"\x1f\x8b", "gunzip"), (b"BZh", "bunzip2"), (b"\xfd7zXZ\0", "unxz"), (b"\x28\xb5\x2f\xfd", "unzstd"))
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_MAX_EXTENDED = 1 << 16
# What tarfile raises on damaged headers, found by flipping bytes.
_DAMAGED = (tarfile.TarError, ValueError, OverflowError, RecursionError, MemoryError, AttributeError, IndexError)


class TarMember(NamedTuple):
    """A file in a tar file.

    Attributes:
        name: As tar would extract it: without a slash in front, and without all up to the last "..".
        offset: Of its first byte in the tar file.
        size: Bytes.
        problem: Why it cannot be read, or "".
        text: Its bytes, for members that the caller wanted at once.
        is_image: Whether it is one, by its name or its first bytes; hidden files are none.
    """

    name: str
    offset: int
    size: int
    problem: str = ""
    text: bytes | None = None
    is_image: bool | None = False


def tar_members(
    path: str,
    wanted: Callable[[str], bool],
    max_text: int,
    *,
    stop: Callable[[TarMember], bool] | None = None,
    folders: list[str] | None = None,
) -> tuple[list[TarMember], str]:
    """List the files in a tar file by its headers, seeking over what lies between.

    Nothing is extracted. Names in PAX and GNU headers are followed; links, devices and sparse files are listed with a
    problem, folders apart from them. What a name does not say, whether it is an image, is looked up in its first bytes.

    Args:
        path: The tar file.
        wanted: Tells by its name whether a member's bytes are read at once.
        max_text: Largest size of such a member.
        stop: Tells after each member whether that is enough; None for all.
        folders: Receives the names of the folders in it.

    Returns:
        The members in front of the first damage, in the order of the file, and what is wrong with the file, or "".

    Raises:
        UlfineError: It is compressed.
    """
    members: list[TarMember] = []
    try:
        with open_regular(path, _BUFFER) as file:
            _refuse_compressed(path, file.read(8))
            end = file.seek(0, os.SEEK_END)
            problem = _walk(file, 0, end, wanted, max_text, members, stop, folders) if end else "empty file"
        if problem == _NO_TAR and not is_url(path) and (what := stand_in(Path(path))):
            problem = f"is {what}"
    except OSError as error:
        problem = f"cannot be read: {reason(error)}"
    return members, problem


def inner_members(path: str, offset: int, size: int, folders: list[str]) -> tuple[list[TarMember], str]:
    """List the files of a tar file that is itself a member of a tar file; offsets are those in the outer one.

    `folders` receives the names of the folders in it.
    """
    members: list[TarMember] = []
    try:
        with open_regular(path, _BUFFER) as file:
            problem = (
                _walk(file, offset, offset + size, lambda _: False, 0, members, None, folders) if size else "empty file"
            )
    except OSError as error:
        problem = f"cannot be read: {reason(error)}"
    return members, problem


class _LeanInfo(tarfile.TarInfo):
    """A header of which only name and size are read if it is that of a plain file: a listing takes half the time."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_LeanInfo":
        # A prefix belongs to a long name; sizes above 8 GiB and negative ones are not octal.
        if len(buf) == _BLOCK and buf[156:157] == tarfile.REGTYPE and not buf[345]:
            try:
                claimed, size = (int(buf[field].strip(b" \0"), 8) for field in (slice(148, 156), slice(124, 136)))
            except ValueError:
                claimed, size = -1, 0
            # The checksum counts its own field as eight spaces.
            if claimed == sum(buf) - sum(buf[148:156]) + 8 * 32:
                info = cls()
                info.name = buf[:100].partition(b"\0")[0].decode(encoding, errors)
                info.size = size
                return info
        info = super().frombuf(buf, encoding, errors)
        # tarfile would read it whole: damage to its size must not become gigabytes.
        if info.type in _EXTENDED and not 0 <= info.size <= _MAX_EXTENDED:
            raise tarfile.ReadError("enormous extended header")
        return info


def _walk(
    file: IO[bytes],
    start: int,
    end: int,
    wanted: Callable[[str], bool],
    max_text: int,
    members: list[TarMember],
    stop: Callable[[TarMember], bool] | None,
    folders: list[str] | None,
) -> str:
    """Append the members between two bytes of a file and return what is wrong with them, or ""."""
    position = start
    file.seek(start)
    try:
        with tarfile.TarFile(fileobj=file, tarinfo=_LeanInfo, encoding="utf-8", errors="surrogateescape") as tar:
            while (info := tar.next()) is not None:
                # tarfile keeps every header otherwise.
                tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]
                # Headers that lead backwards would keep it busy for ever.
                if info.size < 0 or tar.offset <= position:
                    return f"damaged header at byte {position - start}: what follows is not read"
                if info.offset_data > end:
                    return _cut_off(position, end, members)
                position = tar.offset
                if info.isdir():
                    if folders is not None:
                        folders.append(safe_path(info.name))
                    continue
                member = _read_now(file, _member(info, end), wanted, max_text)
                members.append(member)
                if stop is not None and stop(member):
                    return ""
            return _ending(file, tar.offset, start, end)
    except _DAMAGED:
        if position == start:
            return _NO_TAR
        if position > end:
            return _cut_off(position, end, members)
        return f"damaged header at byte {position - start}: what follows is not read"


def _cut_off(position: int, end: int, members: Sequence[TarMember]) -> str:
    if position <= end:
        return "no end mark: it may be cut off"
    return f"truncated: it ends inside {members[-1].name}" if members else "truncated file"


def _member(info: tarfile.TarInfo, end: int) -> TarMember:
    name = safe_path(info.name)
    image = False if is_hidden(name.rpartition("/")[2]) else is_image_name(name)
    return TarMember(name, info.offset_data, info.size, _problem(info, end), None, image)


def _read_now(file: IO[bytes], member: TarMember, wanted: Callable[[str], bool], max_text: int) -> TarMember:
    """Read what is needed of a member while the tar file is open: a label's text, or whether it is an image."""
    if member.is_image is None:
        if member.problem:
            return member._replace(is_image=False)
        file.seek(member.offset)
        return member._replace(is_image=is_image_head(file.read(min(member.size, HEAD_BYTES))))
    if member.problem or member.is_image or not wanted(member.name):
        return member
    if member.size > max_text:
        return member._replace(problem=f"larger than {max_text} bytes")
    file.seek(member.offset)
    return member._replace(text=file.read(member.size))


def _ending(file: IO[bytes], position: int, start: int, end: int) -> str:
    """Say whether the tar file ends as it should: tarfile takes a damaged header for the end."""
    file.seek(position)
    block = file.read(max(0, min(_BLOCK, end - position)))
    if not block:
        return "no end mark: it may be cut off"
    if len(block) < _BLOCK:
        return "truncated file"
    if any(block):
        return f"damaged header at byte {position - start}: what follows is not read"
    # Tar pads with zeros, as does whoever joins tar files with cat.
    if any(file.read(max(0, min(_BUFFER, end - file.tell())))):
        return "more follows behind its end mark (joined tar files?), which is not read"
    return ""


def _problem(info: tarfile.TarInfo, end: int) -> str:
    if info.issparse():
        return "sparse in the tar file"
    if info.issym() or info.islnk():
        return "a link in the tar file"
    if info.isfifo():
        return "is a named pipe"
    if not info.isreg():
        return "is a device"
    return "the tar file ends in the middle of it" if info.offset_data + info.size > end else ""


def _refuse_compressed(path: str, start: bytes) -> None:
    for magic, command in _COMPRESSED:
        if start.startswith(magic):
            raise compressed(path, command)


def compressed(path: str, command: str) -> UlfineError:
    """Return the error for a compressed tar file, with the command that expands it."""
    return UlfineError(
        f"{path} is compressed, so its images cannot be read one by one: expand it ({command}); "
        "the images in it are compressed themselves"
    )
