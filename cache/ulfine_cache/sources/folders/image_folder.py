"""Images in folders: `<class>/`, `unlabelled/`, or these inside `train/`, `val/` and `test/`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.source import SETS, UNKNOWN, UNLABELLED, SourceItem
from ulfine_cache.sources.trees.regular_file import read_regular, stamp

_COMMON = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
EXTENSIONS = frozenset((*_COMMON, ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".tga"))
UNLABELLED_FOLDER = "unlabelled"
_EXPECTED = "expected one folder per class ({root}/<class>/*.jpg) or {root}/unlabelled/"

_Identities = tuple[tuple[int, int], ...]
"""Device and inode of a folder and of those above it."""


def is_image_name(name: str) -> bool:
    """Tell whether a file of this name is looked at: it is not hidden and has one of the `EXTENSIONS`."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122 (surrogates)


class _Found(NamedTuple):
    """What a folder holds: folders, (name, size, mtime) of images, and (name, reason) of what cannot be entered."""

    folders: list[str]
    images: list[tuple[str, int, int]]
    problems: list[tuple[str, str]]


class ImageFolder:
    """A folder of labelled class folders; every depth below a class folder belongs to the class.

    - `<class>/...`: labelled images; the folder's name is the class.
    - `unlabelled/...`: images whose class is unknown.
    - `train/`, `val/`, `test/` with such folders inside, if they hold folders and no images of their own. (A class may
      be called "train" as long as its images lie directly in it.)

    Hidden files and folders, and files with other extensions than `EXTENSIONS`, are not looked at. Links to files and
    folders are followed, wherever they lead, but never in a circle. What cannot be read is an item whose `read` gives
    the reason: files and folders without permission, links to nothing and in circles, pipes, sockets and devices (which
    are never opened), and folders that are called like an image (which are not entered).

    Args:
        root: The folder.

    Raises:
        UlfineError: It is missing, unreadable, or holds no image where one is expected.

    Example:
        >>> ImageFolder(Path("photos")).items[0].path  # doctest: +SKIP
        'beagle/0001.jpg'
    """

    def __init__(self, root: Path) -> None:
        if not root.exists():
            raise UlfineError(f"no folder {root}: {_EXPECTED.format(root=root)}")
        if not root.is_dir():
            raise UlfineError(f"{root} is a file: {_EXPECTED.format(root=root)}")
        self._root = root
        self._problems: dict[str, str] = {}
        try:
            found, above = _scan(str(root), ())
        except OSError as error:
            raise UlfineError(f"cannot read the folder {root}: {reason(error)}") from error
        groups = list(self._groups(found, above))
        self.classes: Sequence[str] = sorted({name for _, name, _, _ in groups if name != UNLABELLED_FOLDER})
        index = {name: label for label, name in enumerate(self.classes)} | {UNLABELLED_FOLDER: UNLABELLED}
        # Folders outside all classes that cannot be entered were noted by _groups.
        items = [SourceItem(path, UNLABELLED, "", UNKNOWN, UNKNOWN) for path in self._problems]
        for set_name, name, path, above in groups:
            label = index[name]
            items += [SourceItem(image, label, set_name, size, mtime) for image, size, mtime in self._walk(path, above)]
        if not items:
            stray = f" ({len(found.images)} images lie directly in it)" if found.images else ""
            raise UlfineError(f"no images in the folders of {root}{stray}: {_EXPECTED.format(root=root)}")
        items.sort()
        self.items: Sequence[SourceItem] = items

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return str(self._root.resolve())

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes.

        Raises:
            OSError: It has vanished, may not be read, or is something else than a file.
        """
        problem = self._problems.get(item.path)
        if problem:
            raise OSError(problem)
        return read_regular(self._place(item.path))

    def _place(self, path: str) -> str:
        return os.path.join(self._root, path)  # noqa: PTH118 (a million of them)

    def _groups(self, found: _Found, above: _Identities) -> Iterator[tuple[str, str, str, _Identities]]:
        """Yield (set, class or "unlabelled", path, folders above) of each folder with images of one class."""
        self._problems.update(found.problems)
        for name in found.folders:
            if name not in SETS:
                yield "", name, name, above
                continue
            try:
                inner, inside = _scan(self._place(name), above)
            # Nobody can tell whether it is a set or a class.
            except OSError as error:
                self._problems[name] = reason(error)
                continue
            if inner.images or not inner.folders:
                yield "", name, name, above
                continue
            self._problems.update((f"{name}/{inner_name}", why) for inner_name, why in inner.problems)
            for folder in inner.folders:
                yield name, folder, f"{name}/{folder}", inside

    def _walk(self, top: str, above: _Identities) -> Iterator[tuple[str, int, int]]:
        """Yield (path, size, mtime) of all images below a folder, in any order."""
        waiting = [(top, above)]
        while waiting:
            path, above = waiting.pop()
            try:
                found, inside = _scan(self._place(path), above)
            except OSError as error:
                self._problems[path] = reason(error)
                yield path, UNKNOWN, UNKNOWN
                continue
            waiting += [(f"{path}/{name}", inside) for name in found.folders]
            for name, why in found.problems:
                self._problems[f"{path}/{name}"] = why
                yield f"{path}/{name}", UNKNOWN, UNKNOWN
            for name, size, mtime in found.images:
                yield f"{path}/{name}", size, mtime


def _scan(folder: str, above: _Identities) -> tuple[_Found, _Identities]:
    """Return what a folder holds, and its identity with those above it.

    Raises:
        OSError: It cannot be read, or is one of those above it.
    """
    status = Path(folder).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise OSError("a link in a circle: the folder lies in itself")
    found = _Found([], [], [])
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                _sort_in(entry, found)
    found.folders.sort()
    return found, (*above, identity)


def _sort_in(entry: "os.DirEntry[str]", found: _Found) -> None:
    image = is_image_name(entry.name)
    try:
        if entry.is_dir():
            if image:
                found.problems.append((entry.name, "is a directory"))
            else:
                found.folders.append(entry.name)
        elif image:
            found.images.append((entry.name, *stamp(entry.path, entry.stat())))
        elif "." not in entry.name and entry.is_symlink():
            # It may have been a folder full of images: this raises if it leads nowhere.
            entry.stat()
    except OSError as error:
        if image:
            # A link to nothing or in a circle; reading it will say so.
            found.images.append((entry.name, UNKNOWN, UNKNOWN))
        else:
            found.problems.append((entry.name, reason(error)))
