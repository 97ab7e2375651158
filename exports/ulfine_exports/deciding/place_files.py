"""Copies, links and moves that overwrite nothing, can be interrupted anywhere, and can be undone.

A file gets its name when it is complete, by a link that fails where the name is taken; only then the original goes. On
file systems without hard links a rename stands in for it, after a look whether the name is free.
"""

import contextlib
import filecmp
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from ulfine_cache.errors import UlfineError
from ulfine_exports.deciding.sorted_table import How

_PART = ".ulfine-part"


def place(source: Path, target: Path, how: How) -> None:
    """Bring one file to its place; a call that was interrupted is completed by the same call.

    Args:
        source: The image.
        target: In an existing folder.
        how: Copy, symbolic link, or move.

    Raises:
        UlfineError: Something else has the name of the target.
        OSError: It cannot be done; the source is as it was.
    """
    if how == "link":
        if target.is_symlink() and str(target.readlink()) == str(source):
            return
        with _taken(target):
            target.symlink_to(source)
        return
    if not _is_there(target) or not _same(source, target):
        _complete(source, target)
    if how == "move":
        source.unlink()


def is_another(source: Path, target: Path) -> bool:
    """Whether a file has the name that one had which has been sorted: cameras count from 1 again.

    Args:
        source: Where an image was, and something may be now.
        target: Where it was put; a link there is to whatever is at the source.
    """
    return _is_there(target) and _is_there(source) and not _same(source, target)


def put_back(source: Path, target: Path, how: How) -> str:
    """Undo `place`.

    Returns:
        Why it was not undone, or "".
    """
    if not (target.is_symlink() if how == "link" else _is_there(target)):
        return "" if source.exists() else f"{target} and {source} are both gone"
    if how == "link":
        if str(target.readlink()) != str(source):
            return f"{target} is another link by now, and stays"
        target.unlink()
    elif how == "copy":
        if not _is_there(source):
            return f"{source} is gone: {target} stays"
        if not _same(source, target):
            return f"{target} is no copy of {source} any more, and stays"
        target.unlink()
    else:
        if _is_there(source) and not _same(source, target):
            return f"{source} is another file by now: {target} stays"
        source.parent.mkdir(parents=True, exist_ok=True)
        place(target, source, "move")
    return ""


def _is_there(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _same(source: Path, target: Path) -> bool:
    return source.samefile(target) or filecmp.cmp(source, target, shallow=False)


def _complete(source: Path, target: Path) -> None:
    """Give the target its name when its content is complete."""
    part = target.with_name(f".{target.name[:80]}{_PART}")
    part.unlink(missing_ok=True)
    try:
        shutil.copy2(source, part, follow_symlinks=False)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        with _taken(target):
            try:
                os.link(part, target)
            except (PermissionError, NotImplementedError, OSError) as error:
                if isinstance(error, FileExistsError) or os.path.lexists(target):
                    raise FileExistsError(target) from error
                part.rename(target)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _taken(target: Path) -> Generator[None]:
    try:
        yield
    except FileExistsError as error:
        raise UlfineError(f"{target} is another file, which is not replaced: move it away") from error
