"""Images in folders: `<class>/`, `unlabelled/`, or these inside `train/`, `val/` and `test/`."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.source import UNLABELLED, SourceItem

_COMMON = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
EXTENSIONS = frozenset((*_COMMON, ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".tga"))
SETS = ("train", "val", "test")
UNLABELLED_FOLDER = "unlabelled"
_EXPECTED = "expected one folder per class ({root}/<class>/*.jpg) or {root}/unlabelled/"


class ImageFolder:
    """A folder of labelled class folders; every depth below a class folder belongs to the class.

    - `<class>/...`: labelled images; the folder's name is the class.
    - `unlabelled/...`: images whose class is unknown.
    - `train/`, `val/`, `test/` with such folders inside, if they hold folders and no images of their own. (A class may
      be called "train" as long as its images lie directly in it.)

    Hidden files and folders, and files with other extensions than `EXTENSIONS`, are not looked at. Links to folders are
    followed, but never in a circle.

    Args:
        root: The folder.

    Raises:
        UlfineError: It is missing, unreadable, or holds no image where one is expected.
    """

    def __init__(self, root: Path) -> None:
        if not root.exists():
            raise UlfineError(f"no folder {root}: {_EXPECTED.format(root=root)}")
        if not root.is_dir():
            raise UlfineError(f"{root} is a file: {_EXPECTED.format(root=root)}")
        self._root = root
        groups = list(_groups(root))
        self.classes: Sequence[str] = sorted({name for _, name, _ in groups if name != UNLABELLED_FOLDER})
        index = {name: label for label, name in enumerate(self.classes)} | {UNLABELLED_FOLDER: UNLABELLED}
        items = [
            SourceItem(path, index[name], set_name, size, mtime)
            for set_name, name, folder in groups
            for path, size, mtime in _images(root, folder)
        ]
        if not items:
            stray = sum(_is_image(entry.name) for entry in root.iterdir())
            found = f" ({stray} images lie directly in it)" if stray else ""
            raise UlfineError(f"no images in the folders of {root}{found}: {_EXPECTED.format(root=root)}")
        self.items: Sequence[SourceItem] = sorted(items)

    @property
    def location(self) -> str:
        """The folder's absolute path."""
        return str(self._root.resolve())

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes.

        Raises:
            OSError: It has vanished or may not be read.
        """
        return (self._root / item.path).read_bytes()


def _groups(root: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield (set, class or "unlabelled", folder)."""
    for folder in _folders(root):
        if folder.name in SETS and _holds_sets(folder):
            for inner in _folders(folder):
                yield folder.name, inner.name, inner
        else:
            yield "", folder.name, folder


def _folders(root: Path) -> list[Path]:
    try:
        return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UlfineError(f"cannot read the folder {root}: {reason(error)}") from error


def _holds_sets(folder: Path) -> bool:
    return bool(_folders(folder)) and not any(_is_image(entry.name) for entry in folder.iterdir() if entry.is_file())


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122 (surrogates)


def _images(root: Path, folder: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[str, int, int]]:
    """Yield (relative path, size, mtime) of all images below a folder."""
    real = folder.resolve()
    if real in above:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise UlfineError(f"cannot read the folder {folder}: {reason(error)}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _images(root, folder / entry.name, (*above, real))
        elif _is_image(entry.name):
            try:
                status = entry.stat()
                size, mtime = status.st_size, status.st_mtime_ns
            # A broken link: it is listed, and reading it will give the reason for skipped.csv.
            except OSError:
                size, mtime = -1, -1
            yield (folder / entry.name).relative_to(root).as_posix(), size, mtime
