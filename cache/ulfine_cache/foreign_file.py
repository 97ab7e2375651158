"""What a file really is where it is not what its name says: an error page, a pointer, a file cut short."""

import codecs
import zipfile
from pathlib import Path

_HEAD = 4096
_BINARY = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x1f\x8b": "compressed with gzip: unpack it first",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it first",
    b"%PDF": "a PDF document",
    b"\x93NUMPY": "a single numpy array (.npy)",
    b"PAR1": "a Parquet table",
}


def what_it_is(path: Path) -> str:
    """Say in words what a file is, for errors about files that cannot be used.

    Args:
        path: A regular file.

    Returns:
        Words that follow "FILE is", with the remedy where there is one, such as "empty: fetch it again"; "" where the
        file may be what it should be.

    Raises:
        OSError: It cannot be read.

    Example:
        >>> what_it_is(Path("photos-cache/cache.h5"))
        'an HDF5 file'
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        return "empty: a download or copy has failed, fetch it again"
    if found := _stand_in(head):
        return found
    if head.startswith(b"PK"):
        return "" if is_zip(path) else "a ZIP archive cut short: fetch it again"
    for magic, words in _BINARY.items():
        if head.startswith(magic):
            return words
    if _is_text(head):
        return "text"
    return "nothing but zeros: a download has failed, fetch it again" if not any(head) else ""


def is_zip(path: Path) -> bool:
    """Say whether a file ends as a ZIP archive does; `zipfile.is_zipfile` raises about some damaged ones.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return zipfile.is_zipfile(path)
    except zipfile.BadZipFile:
        return False


def stand_in(path: Path) -> str:
    """Say in words that follow "FILE is" whether a page or a pointer lies in a file's place, whatever it should be.

    Args:
        path: A regular file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return _stand_in(file.read(_HEAD))


def _stand_in(head: bytes) -> str:
    start = head.removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file itself: run `git lfs pull` where it was cloned"
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return "a page for a browser (HTML), not the file itself: fetch it again, by the link that downloads it"
    return ""


def _is_text(head: bytes) -> bool:
    try:
        # The last character may be cut in two.
        text = codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < _HEAD)
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\r\n\t\f" for character in text)
