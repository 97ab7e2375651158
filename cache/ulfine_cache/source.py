"""What stage one needs to know about a collection of images: a listing that can be cut into blocks, and bytes.

A new kind of source is one file that offers this protocol.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, Protocol

UNLABELLED = -1
"""Label of an image whose class is unknown."""


class SourceItem(NamedTuple):
    """One image of a source, as it is listed without reading it.

    Attributes:
        path: Name relative to the source, with "/" on every system; unique.
        label: Index into the source's classes, or -1.
        set_name: "", "train", "val" or "test".
        size: Bytes.
        mtime_ns: Time of the last change in nanoseconds since 1970.
    """

    path: str
    label: int
    set_name: str
    size: int
    mtime_ns: int


class ImageSource(Protocol):
    """A collection of images; listing it twice gives the same order."""

    @property
    def location(self) -> str:
        """Where it is: an absolute path."""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes as the source spells them; labels are indices into it."""
        ...

    @property
    def items(self) -> Sequence[SourceItem]:
        """All images in a fixed order."""
        ...

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes; called from several threads at once.

        Raises:
            OSError: It cannot be read.
        """
        ...


def listing_digest(items: Sequence[SourceItem]) -> str:
    """Return 64 hexadecimal digits that change when an image of the block is added, removed, relabelled or changed."""
    digest = hashlib.sha256()
    for item in items:
        line = "\0".join(str(value) for value in item) + "\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
