"""What stage one needs to know about a collection of images: a listing that can be cut into blocks, and bytes.

A new kind of source is one file that offers this protocol, and a line in `open_source.py`. What a folder, a table and a
set are called is the same in all of them: see `words/`.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from ulfine_cache.sources.account import Account

UNLABELLED = -1
"""Label of an image whose class is unknown."""

STRAY = "lies in no class folder"
"""How the reason begins why an image outside the folders of classes has no row."""

UNKNOWN = -1
"""Size and time of change of an input that cannot be read."""


class LeftOut(OSError):
    """Why an image has no row although it may well be readable, such as "has several classes: cat, dog"."""


class SourceItem(NamedTuple):
    """One image of a source, as it is listed without reading it.

    Attributes:
        path: Name relative to the source, with "/" on every system; unique. Bytes of a name that are not UTF-8 are
            kept as Python's "surrogateescape" does.
        label: Index into the source's classes, or -1.
        set_name: "", "train", "val" or "test".
        size: Bytes; -1 where the listing already shows that it cannot be read or will have no row.
        mtime_ns: Time of the last change in nanoseconds since 1970, of the file that holds it; -1 likewise.
    """

    path: str
    label: int
    set_name: str
    size: int
    mtime_ns: int

    @property
    def group(self) -> str:
        """What the image has in common with others, such as its camera, site or batch; "" where nothing is said."""
        return ""

    def of_group(self, group: str) -> "SourceItem":
        """Return the same image with a group; "" for none."""
        return _GroupedItem(*self, _group=group) if group else self


class _GroupedItem(SourceItem):
    """An image of a group, which most have none of."""

    _group: str

    def __new__(cls, *fields: Any, _group: str = "") -> "_GroupedItem":
        item = super().__new__(cls, *fields)
        item._group = _group
        return item

    @property
    def group(self) -> str:
        return self._group


class ImageSource(Protocol):
    """A collection of images.

    It is listed once, when it is made, without reading a pixel, and gives the same order every time: blocks of the
    listing are what is encoded, kept and compared. Bytes come later, of one image at a time, in any order and from many
    threads.

    What belongs to the collection but cannot be read (a link to nothing, a damaged shard) is an item like any other:
    `read` gives the reason, and it ends in `skipped.csv`. Errors when the source is made are for what makes the
    collection as a whole unusable.
    """

    @property
    def location(self) -> str:
        """Where it is: an absolute path, or an absolute pattern of paths."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes as the source spells them; labels are indices into it."""
        ...

    @property
    def account(self) -> Account:
        """What it holds besides the images, and how it was read."""
        ...

    @property
    def items(self) -> Sequence[SourceItem]:
        """All images in a fixed order."""
        ...

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes. No state is shared between calls, so any number of threads may call at once.

        Args:
            item: One of `items`.

        Raises:
            LeftOut: It is to have no row; its text becomes the reason in `skipped.csv`.
            OSError: It cannot be read; its number, or else its text, becomes the reason.
        """
        ...

    def holder(self, item: SourceItem) -> str:
        """Return the path of the file on the disk that holds an image, which may be an archive of many.

        Args:
            item: One of `items`.
        """
        ...


def blocks_of(items: Sequence[SourceItem], shard_size: int) -> list[Sequence[SourceItem]]:
    """Cut a listing into the blocks of which each becomes a shard: runs of `shard_size` images, the last one shorter.

    Example:
        >>> [len(block) for block in blocks_of(range(5), 2)]
        [2, 2, 1]
    """
    return [items[start : start + shard_size] for start in range(0, len(items), shard_size)]


def listing_digest(items: Sequence[SourceItem]) -> str:
    """Return 64 hexadecimal digits that change when an image of the block is added, removed, relabelled or changed."""
    digest = hashlib.sha256()
    for item in items:
        # As before there were groups, where nothing is said of them.
        digest.update(_line(*item, *([item.group] if item.group else [])))
    return digest.hexdigest()


def stamp(item: SourceItem) -> str:
    """Return 32 hexadecimal digits that stay the same while an image's file keeps its name, size and time of change.

    Unlike `listing_digest` it says nothing about label and set. Another file can have the same: see `identity`.
    """
    return hashlib.sha256(_line(item.path, item.size, item.mtime_ns)).hexdigest()[:32]


def identity(source: ImageSource, item: SourceItem) -> int:
    """Return a number below 2^64 that changes when the file that holds an image is replaced or written to.

    It is made of what no program can set at will: the file's number on its disk and when it or its name changed last. A
    copy of the same bytes has another; 0 means that there is no such file.
    """
    try:
        status = os.stat(source.holder(item))  # noqa: PTH116 (there may be a million)
    except (OSError, ValueError):
        return 0
    digest = hashlib.blake2b(_line(status.st_ctime_ns, status.st_ino), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def _line(*values: object) -> bytes:
    return ("\0".join(map(str, values)) + "\n").encode("utf-8", "surrogateescape")
