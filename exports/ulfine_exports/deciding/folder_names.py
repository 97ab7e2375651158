"""Folders for classes: a name that every file system takes, of any class name, and each its own."""

import re
import unicodedata
from collections.abc import Sequence

DOUBTFUL = "doubtful"
"""The folder for what no class is sure enough of."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_MOST_BYTES = 100


def folder_names(class_names: Sequence[str], taken: Sequence[str] = (DOUBTFUL,)) -> list[str]:
    """Give each class a folder.

    What Windows, macOS or a shell take amiss becomes ``_``; names that differ by case or by their Unicode form alone
    are told apart by a number.

    Args:
        class_names: C names.
        taken: Names that no class gets.

    Returns:
        C names of folders, all different.

    Example:
        >>> folder_names(["cat/dog", "..", "Owl", "owl", "doubtful"])
        ['cat_dog', '_.', 'Owl', 'owl-2', 'doubtful-2']
    """
    used = {folded(name) for name in taken}
    return [unused(_safe(name), used) for name in class_names]


def unused(name: str, used: set[str]) -> str:
    """A name that is not yet used, which it is afterwards: with a number before its suffix where it must be.

    Args:
        name: Of a file or a folder.
        used: Names as `folded` gives them; the result is added.

    Example:
        >>> unused("a.jpg", {"a.jpg", "a-2.jpg"})
        'a-3.jpg'
    """
    stem, dot, suffix = name.rpartition(".")
    stem, suffix = (stem, dot + suffix) if stem else (name, "")
    found, number = name, 1
    while folded(found) in used:
        number += 1
        found = f"{stem}-{number}{suffix}"
    used.add(folded(found))
    return found


def folded(name: str) -> str:
    """A name as the least particular file system sees it.

    Example:
        >>> folded("OWL") == folded("owl")
        True
    """
    return unicodedata.normalize("NFC", name.casefold())


def _safe(name: str) -> str:
    found = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", name)).rstrip(" ")
    found = re.sub(r"^[. ]", "_", found)
    found = re.sub(r"\.$", "_", found) if found != "_." else found
    while len(found.encode()) > _MOST_BYTES:
        found = found[:-1]
    return f"_{found}" if not found or _RESERVED.fullmatch(found) else found
