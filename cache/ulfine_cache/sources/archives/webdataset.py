"""WebDataset shards: uncompressed tar files of images with labels beside them."""

import os
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path, PurePath

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.archives.tar_members import tar_members
from ulfine_cache.sources.archives.tar_samples import MAX_LABEL_BYTES, TarSample, is_label_name, tar_samples
from ulfine_cache.sources.source import SETS, UNKNOWN, UNLABELLED, SourceItem, known_set
from ulfine_cache.sources.trees.regular_file import check_size, open_regular, stamp
from ulfine_cache.sources.words.class_labels import MAX_LENGTH, class_order, class_text

_MIN_CAPTIONS = 100
_NO_LABEL = "its label is missing, perhaps behind the damage of its tar file"
_SET_NAMES = ("", *SETS)


class WebDataset:
    """Images in tar files, in the order of the files' names and in that of each file.

    - An image is a member `KEY.jpg` (`.png`, `.webp`, ... any of `image_folder.EXTENSIONS`); the key is the member's
      name up to the first dot behind the last slash.
    - Its class is what `KEY.cls` (class name or whole number), `KEY.json` (field `label`, `cls` or `class`) or
      `KEY.txt` says, in this order; without any of them, with empty text, null or -1 it is unlabelled. A `.txt` beside
      one of the others is a caption. So are all `.txt` if there are at least 100 and more than half of them differ.
    - Its set is what the field `split` of `KEY.json` says, or else the word train, val (validation, valid) or test in
      the tar file's name (`cifar10-train-000.tar`) or in that of the nearest folder below the files' common one.
    - Its path is `<tar file>/<member>`, relative to the files' common folder.

    Only headers and labels are read while it is listed; images are read by their offset. Nothing is extracted. A sample
    that cannot be understood (contradicting labels, several images, a link) is an item whose `read` says why, and so is
    a tar file with damage: what lies in front of the damage is used.

    Args:
        tars: The tar files.
        location: What the user named them by: a file, a folder or a pattern, absolute.

    Raises:
        UlfineError: A file is compressed, or there is no image in any of them.

    Example:
        >>> WebDataset(["/data/train-000.tar"], "/data").items[0].path  # doctest: +SKIP
        'train-000.tar/beagle_0001.jpg'
    """

    def __init__(self, tars: Sequence[str], location: str) -> None:
        self.location = location
        self._tars = sorted({os.path.abspath(tar) for tar in tars})  # noqa: PTH100 (links stay links)
        self._starts: list[int] = []
        self._offsets = array("q")
        self._problems: dict[str, str] = {}
        top = os.path.commonpath([os.path.dirname(tar) for tar in self._tars])  # noqa: PTH120
        listing = _Listing()
        for tar in self._tars:
            self._starts.append(len(listing.paths))
            self._list(tar, PurePath(tar).relative_to(top).as_posix(), listing)
        if not listing.paths:
            raise UlfineError(f"no images in {location}: expected members KEY.jpg with KEY.cls, KEY.txt or KEY.json")
        self.classes: Sequence[str]
        self.classes, labels = listing.classes_and_labels()
        if self.classes:
            self._problems.update((listing.paths[at], _NO_LABEL) for at in listing.doubtful)
        rows = zip(listing.paths, listing.labels, listing.sets, listing.sizes, listing.times, strict=True)
        self.items: Sequence[SourceItem] = [
            SourceItem(path, labels[label], _SET_NAMES[number], size, mtime)
            for path, label, number, size, mtime in rows
        ]
        # Paths do not rise from row to row, so they are found by way of their order: 8 bytes an image, a dict has 100.
        self._by_path = array("l", sorted(range(len(self.items)), key=listing.paths.__getitem__))

    def read(self, item: SourceItem) -> bytes:
        """Return an image's bytes, by a handle of its own.

        Raises:
            OSError: It cannot be used, or the tar file has vanished or changed since.
        """
        problem = self._problems.get(item.path)
        if problem:
            raise OSError(problem)
        at = self._by_path[bisect_left(self._by_path, item.path, key=lambda at: self.items[at].path)]
        tar = self._tars[bisect_right(self._starts, at) - 1]
        check_size(item.size)
        with open_regular(tar, 0) as file:
            if os.fstat(file.fileno()).st_mtime_ns != item.mtime_ns:
                raise OSError("its tar file has changed since it was listed")
            file.seek(self._offsets[at])
            data = file.read(item.size)
            while len(data) < item.size:
                more = file.read(item.size - len(data))
                if not more:
                    raise OSError("the tar file ends in the middle of it")
                data += more
        return data

    def _list(self, tar: str, name: str, listing: "_Listing") -> None:
        """Append the samples of a tar file, and the file itself if it is damaged."""
        try:
            size, mtime = stamp(tar, Path(tar).stat())
        except OSError:
            size, mtime = UNKNOWN, UNKNOWN
        members, damage = tar_members(tar, is_label_name, MAX_LABEL_BYTES)
        set_name = _set_of(name)
        for sample in tar_samples(members):
            path = f"{name}/{sample.name}"
            if sample.problem:
                self._problems[path] = sample.problem
            elif damage and not sample.kind:
                listing.doubtful.append(len(listing.paths))
            self._offsets.append(sample.offset)
            listing.append(path, sample, sample.set_name or set_name, mtime)
        if damage:
            self._problems[name] = damage
            self._offsets.append(0)
            listing.append(name, TarSample("", 0, size), "", mtime)


class _Listing:
    """Columns of what has been found so far; labels are numbers of texts, because classes are known at the end only."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.labels, self.sets, self.sizes = array("l"), array("b"), array("q")
        self.times: list[int] = []
        self.doubtful: list[int] = []
        self._texts: dict[tuple[bool, str], int] = {}
        self._n_txt = 0

    def append(self, path: str, sample: TarSample, set_name: str, mtime: int) -> None:
        self.paths.append(path)
        from_txt = sample.kind == "txt" and bool(sample.label)
        self._n_txt += from_txt
        # What is longer is no name, whatever follows.
        text = (from_txt, sample.label[: MAX_LENGTH + 1])
        self.labels.append(self._texts.setdefault(text, len(self._texts)))
        self.sets.append(_SET_NAMES.index(set_name))
        self.sizes.append(sample.size)
        self.times.append(mtime)

    def classes_and_labels(self) -> tuple[list[str], list[int]]:
        """Return the classes, and the label that each number of a text stands for."""
        n_different = sum(from_txt for from_txt, _ in self._texts)
        captions = self._n_txt >= _MIN_CAPTIONS and 2 * n_different > self._n_txt
        names = ["" if from_txt and (captions or not _is_name(text)) else text for from_txt, text in self._texts]
        classes = class_order({name for name in names if name})
        index = {name: label for label, name in enumerate(classes)} | {"": UNLABELLED}
        return classes, [index[name] for name in names]


def _is_name(text: str) -> bool:
    try:
        return bool(class_text(text))
    except ValueError:
        return False


def _set_of(name: str) -> str:
    """Return the set that a tar file's relative name speaks of: the last of its parts that holds one such word."""
    for part in reversed(name.lower().split("/")):
        found = {known_set(word) for word in re.split(r"[^a-z0-9]+", part)} - {"", None}
        if len(found) == 1:
            return found.pop() or ""
    return ""
