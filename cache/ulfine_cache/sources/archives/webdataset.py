"""WebDataset shards: uncompressed tar files of images with labels beside them."""

import os
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import PurePath

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.account import Account
from ulfine_cache.sources.archives.tar_members import TarMember, tar_members
from ulfine_cache.sources.archives.tar_samples import MAX_LABEL_BYTES, TarSample, is_label_name, tar_samples
from ulfine_cache.sources.source import SourceItem
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.sources.trees.regular_file import read_part, stamp_of
from ulfine_cache.sources.trees.remote_file import is_url
from ulfine_cache.sources.words.class_labels import LabelColumn, is_name
from ulfine_cache.sources.words.ignored_names import BESIDE, kind_of_file
from ulfine_cache.sources.words.set_names import SETS, set_in_name
from ulfine_cache.wording.counts import amount

_NO_LABEL = "its label is missing, perhaps behind the damage of its tar file"
_SET_NAMES = ("", *SETS)


class WebDataset:
    """Images in tar files, in the order of the files' names and in that of each file.

    - An image is a member `KEY.jpg` (or of another ending of an image, or of none if its content is one); the key is
      the member's name up to the first dot behind the last slash.
    - Its class is what `KEY.cls` (class name or whole number) or `KEY.json` (field `label`, `cls` or `class`) say, in
      this order, by the one rule of `words.class_labels.LabelColumn`. `KEY.txt` is a caption and no class, unless
      `options.captions_as_classes` says that these are class names.
    - Its set is what the field `set` or `split` of `KEY.json` says, or else the word of a set in the tar file's name
      (`cifar10-train-000.tar`) or in that of the nearest folder below the files' common one.
    - Its path is `<tar file>/<member>`, relative to the files' common folder.

    Only headers and labels are read while it is listed; images are read by their offset. Nothing is extracted. A sample
    that cannot be understood (contradicting labels, several images, a link) is an item whose `read` says why, and so is
    a tar file with damage: what lies in front of the damage is used.

    Args:
        tars: The tar files.
        location: What the user named them by: a file, a folder or a pattern, absolute.
        options: What the user says about them.

    Raises:
        UlfineError: A file is compressed, or there is no image in any of them.

    Example:
        >>> WebDataset(["/data/train-000.tar"], "/data").items[0].path  # doctest: +SKIP
        'train-000.tar/beagle_0001.jpg'
    """

    def __init__(self, tars: Sequence[str], location: str, options: SourceOptions = SourceOptions()) -> None:  # noqa: B008
        self.location, self.account, self._options = location, Account(), options
        self._tars = sorted_tars(tars)
        self._starts: list[int] = []
        self._offsets = array("q")
        self._problems: dict[str, str] = {}
        self._n_captions = 0
        listing = _Listing(LabelColumn(options.missing))
        for tar, name in zip(self._tars, short_names(self._tars), strict=True):
            self._starts.append(len(listing.paths))
            self._list(tar, name, listing)
        if not listing.paths:
            raise UlfineError(
                f"no images in {location}: expected members KEY.jpg with KEY.cls or KEY.json, folders of classes, or a "
                "tar file for each class"
            )
        self.classes: Sequence[str]
        try:
            self.classes, labels = listing.labels.finish(self.account)
        except ValueError as error:
            raise UlfineError(f"{location}, {error}") from None
        if self.classes:
            self._problems.update((listing.paths[at], _NO_LABEL) for at in listing.doubtful)
        if self._n_captions:
            verb = "is" if self._n_captions == 1 else "are"
            self.account.note(
                f"{amount(self._n_captions, 'text')} (.txt) {verb} taken for captions, not for classes: see "
                "--captions-as-classes"
            )
        rows = zip(listing.paths, labels, listing.sets, listing.sizes, listing.times, strict=True)
        self.items: Sequence[SourceItem] = [
            SourceItem(path, label, _SET_NAMES[number], size, mtime) for path, label, number, size, mtime in rows
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
        at = self._place(item)
        return read_part(self._tar_of(at), self._offsets[at], item.size, item.mtime_ns)

    def holder(self, item: SourceItem) -> str:
        """Return the path of the tar file that holds an image."""
        return self._tar_of(self._place(item))

    def _place(self, item: SourceItem) -> int:
        return self._by_path[bisect_left(self._by_path, item.path, key=lambda at: self.items[at].path)]

    def _tar_of(self, at: int) -> str:
        return self._tars[bisect_right(self._starts, at) - 1]

    def _list(self, tar: str, name: str, listing: "_Listing") -> None:
        """Append the samples of a tar file, and the file itself if it is damaged."""
        size, mtime = stamp_of(tar)
        members, damage = tar_members(tar, is_label_name, MAX_LABEL_BYTES)
        set_name = set_in_name(name)
        samples = tar_samples(members)
        for sample in samples:
            path = f"{name}/{sample.name}"
            if sample.problem:
                self._problems[path] = sample.problem
            elif damage and not sample.kind:
                listing.doubtful.append(len(listing.paths))
            self._offsets.append(sample.offset)
            listing.append(path, self._class_of(sample), sample.size, sample.set_name or set_name, mtime)
        self._count(members, {sample.name for sample in samples})
        if damage:
            self._problems[name] = damage
            self._offsets.append(0)
            listing.append(name, "", size, "", mtime)

    def _class_of(self, sample: TarSample) -> str:
        if sample.kind != "txt" or not sample.label:
            return sample.label
        if self._options.captions_as_classes and is_name(sample.label):
            return sample.label
        self._n_captions += 1
        return ""

    def _count(self, members: Sequence[TarMember], names: set[str]) -> None:
        """Count the members that are no items."""
        for member in members:
            if member.name in names:
                names.discard(member.name)
            else:
                self.account.ignore(BESIDE if member.is_image else kind_of_file(member.name.rpartition("/")[2]))


class _Listing:
    """Columns of what has been found so far: tuples of a million rows would be most of the memory."""

    def __init__(self, labels: LabelColumn) -> None:
        self.paths: list[str] = []
        self.labels = labels
        self.sets, self.sizes = array("b"), array("q")
        self.times: list[int] = []
        self.doubtful: list[int] = []

    def append(self, path: str, label: str, size: int, set_name: str, mtime: int) -> None:
        self.paths.append(path)
        self.labels.append(label, path)
        self.sets.append(_SET_NAMES.index(set_name))
        self.sizes.append(size)
        self.times.append(mtime)


def sorted_tars(tars: Sequence[str]) -> list[str]:
    """Return absolute paths, or URLs, in order, each once."""
    return sorted({tar if is_url(tar) else os.path.abspath(tar) for tar in tars})  # noqa: PTH100 (links stay links)


def short_names(tars: Sequence[str]) -> list[str]:
    """Return the paths of tar files relative to their common folder, with "/"."""
    top = os.path.commonpath([os.path.dirname(tar) for tar in tars])  # noqa: PTH120
    return [PurePath(tar).relative_to(top).as_posix() for tar in tars]
