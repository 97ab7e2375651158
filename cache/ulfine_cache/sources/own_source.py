"""Sources of images that are not in this repository: what one is, and how SOURCE names it.

``FILE.py``, ``FILE.py:NAME`` or ``FILE.py:NAME:ARGUMENT`` runs a file; ``NAME:ARGUMENT`` is one of an installed
package. A cache records ``NAME:ARGUMENT`` alone, so that opening its images again never runs a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ulfine_cache.elsewhere.found_part import SOURCE_ORIGIN, Kind, Origin, said
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.source import UNKNOWN, UNLABELLED, ImageSource, SourceItem
from ulfine_cache.wording.counts import amount

GROUP = "ulfine_fast.sources"
"""Of the entry points by which an installed package adds sources."""

_FILE = re.compile(r"(?P<file>.+?\.py)(:(?P<attribute>\w*))?(:(?P<argument>.*))?", re.DOTALL)
_PACKAGED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*):(?P<argument>.*)", re.DOTALL)
_SETS = ("", "train", "val", "test")


def _no_file(item: SourceItem) -> str:
    return ""


@dataclass(frozen=True)
class Images:
    """A collection as a source of one's own lists it.

    Attributes:
        classes: Names of the classes; labels are indices into it.
        items: `SourceItem` of all images, in the same order every time, each path once.
        read: From an item to the bytes of its image file, from many threads; raises OSError where it cannot be read.
        holder: From an item to the path of the file on the disk that holds it; "" where there is none. What changes in
            it is noticed by the next call, as are other sizes and times of change of an item.
        notes: What people should know of how it was read.
    """

    classes: Sequence[str]
    items: Sequence[SourceItem]
    read: Callable[[SourceItem], bytes]
    holder: Callable[[SourceItem], str] = _no_file
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Source:
    """A kind of collection that ulfine-fast does not know.

    Attributes:
        name: By which SOURCE names it in front of a colon, such as ``"idx"`` in ``idx:train-images.gz``.
        open: From what follows the colon to the images, listed without reading a pixel.
    """

    name: str
    open: Callable[[str], Images]


KIND = Kind("source", Source, GROUP)

_run: dict[str, tuple[Source, Origin]] = {}
"""Of files that the user named in this process, by name."""


@dataclass(frozen=True)
class OwnImages:
    """`ImageSource` of a source of one's own; an error of its code becomes one line, or a reason in `skipped.csv`.

    Attributes:
        location: ``NAME:ARGUMENT``.
        origin: Where its code is from.
        images: What it listed.
        account: Its notes.
    """

    location: str
    origin: Origin
    images: Images
    account: Account = field(default_factory=Account)

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes."""
        return self.images.classes

    @property
    def items(self) -> Sequence[SourceItem]:
        """All images in their order."""
        return self.images.items

    def read(self, item: SourceItem) -> bytes:
        """An image's bytes."""
        try:
            return bytes(self.images.read(item))
        except (OSError, MemoryError):
            raise
        except Exception as error:
            raise OSError(f"its source failed ({said(error)})") from error

    def holder(self, item: SourceItem) -> str:
        """The path of the file on the disk that holds an image, "" for none."""
        return self.images.holder(item)


def open_own(source: Path, *, files: bool = False) -> OwnImages | None:
    """Open what SOURCE names in a file or in an installed package.

    Args:
        source: As the user gave it, or as a cache recorded it.
        files: Whether a file may be run: only where the user named it.

    Returns:
        None where it is nothing of the kind: what exists under the very name is a path.

    Raises:
        UlfineError: The file or package does not hold what it should, or cannot open its argument.
    """
    text = str(source)
    named = _FILE.fullmatch(text)
    if named is not None and files and not source.is_dir():
        found, argument = _of_file(text, named), named["argument"] or ""
    else:
        packaged = _PACKAGED.fullmatch(text)
        if packaged is None or packaged["name"] not in {**_run, **KIND.installed()} or source.exists():
            return None
        found, argument = _known(packaged["name"]), packaged["argument"]
    own, origin = found
    if argument and Path(argument).exists():
        argument = str(Path(argument).absolute())
    try:
        images = own.open(argument)
        checked = _checked(images, f"the source {own.name!r} of {origin}")
    except (UlfineError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        raise UlfineError(f"the source {own.name!r} of {origin} cannot open {argument!r} ({said(error)})") from error
    opened = OwnImages(f"{own.name}:{argument}", origin, checked)
    for note in checked.notes:
        opened.account.note(note)
    return opened


def source_attributes(source: ImageSource) -> dict[str, str]:
    """What a cache records of where its source's code is from; nothing for those of this package."""
    return {SOURCE_ORIGIN: json.dumps(asdict(source.origin))} if isinstance(source, OwnImages) else {}


def own_location(source: ImageSource) -> dict[str, str]:
    """What the recorded call of a cache says of a source of one's own; nothing for those of this package."""
    return {"source": source.location} if isinstance(source, OwnImages) else {}


def own_source_missing(attributes: Mapping[str, Any]) -> str:
    """Why the images of a cache cannot be read again, where their source is not installed; "" otherwise."""
    if SOURCE_ORIGIN not in attributes:
        return ""
    name, origin = str(attributes["source"]).partition(":")[0], Origin(**json.loads(attributes[SOURCE_ORIGIN]))
    if name in {**_run, **KIND.installed()}:
        return ""
    if origin.package:
        return f"its images come from the source {name!r} of {origin}, which is not installed: install it"
    return (
        f"its images come from the source {name!r} of {origin}, which a cache does not run: install a package that has "
        f"the source as an entry point in {GROUP}"
    )


def _of_file(text: str, named: re.Match[str]) -> tuple[Source, Origin]:
    attribute = named["attribute"] or KIND.attribute
    try:
        found = KIND.of_file(f"{named['file']}:{attribute}", KIND.installed())
    except UlfineError as error:
        if named["attribute"] and not named["argument"] and " is nothing, " in str(error):
            raise UlfineError(
                f"{error}; an argument comes after the name, {named['file']}:{KIND.attribute}:{named['attribute']}"
            ) from error
        raise
    _run[found[0].name] = found
    return found


def _known(name: str) -> tuple[Source, Origin]:
    packaged = KIND.installed()
    return KIND.of_package(packaged[name], ()) if name in packaged else _run[name]


def _checked(images: Any, what: str) -> Images:
    if not isinstance(images, Images):
        raise UlfineError(f"{what} gives a {type(images).__name__}, not Images: return Images(classes, items, read)")
    seen: set[str] = set()
    for item in images.items:
        if not isinstance(item, SourceItem):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UlfineError(f"{what} lists a {type(item).__name__}, not a SourceItem")
        if not item.path or item.path in seen:
            raise UlfineError(f"{what} lists {item.path!r} twice or without a name: give every image a path of its own")
        seen.add(item.path)
        if not UNLABELLED <= item.label < len(images.classes):
            classes = amount(len(images.classes), "class")
            raise UlfineError(
                f"{what} gives {item.path} the label {item.label}, and has {classes}: labels are 0 to "
                f"{len(images.classes) - 1}, or {UNLABELLED}"
            )
        if item.set_name not in _SETS:
            raise UlfineError(f"{what} puts {item.path} into the set {item.set_name!r}: train, val, test or none")
        if min(item.size, item.mtime_ns) < UNKNOWN:
            raise UlfineError(f"{what} gives {item.path} a negative size or time")
    if not seen:
        raise UlfineError(f"{what} lists no images: check what follows the colon")
    return images
