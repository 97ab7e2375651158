"""Several files in one folder as one export: known as its own by the next one, wherever it was interrupted.

One of the files says that an export wrote the folder. It is begun first and gets its name last, and while it is written
no other process writes into the folder.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from ulfine_cache.atomic import PARTIAL, make_directory, replacing


def write_files(folder: Path, files: Mapping[str, bytes], *, last: str) -> list[Path]:
    """Write files into a folder, or replace those of an earlier export.

    Args:
        folder: Made where it is missing.
        files: Content by name relative to the folder.
        last: The name of the file that says who wrote the folder.

    Returns:
        The files, in the order in which they got their names.

    Raises:
        UlfineError: The folder cannot be written, or another process does not finish.
    """
    make_directory(folder)
    written: list[Path] = []
    try:
        with replacing(folder / last) as mark:
            mark.write_bytes(files[last])
            for name in (name for name in files if name != last):
                path = folder / name
                make_directory(path.parent)
                with replacing(path) as partial:
                    partial.write_bytes(files[name])
                written.append(path)
    except BaseException:
        if not (folder / last).exists():
            # Nothing would say whose they are.
            for path in written:
                path.unlink(missing_ok=True)
        raise
    return [*written, folder / last]


def is_ours(folder: Path, last: str, says_so: Callable[[str], bool]) -> bool:
    """Say whether an export wrote a folder, or began to, or nobody did.

    Args:
        folder: A folder, or nothing.
        last: As for `write_files`.
        says_so: Whether the text of that file is an export's.
    """
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    if all(path.name.endswith(PARTIAL) for path in files):
        return True
    return any(says_so(_text(folder / name)) for name in (last, last + PARTIAL))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
