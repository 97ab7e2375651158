"""What happened to a collection since shards of its cache were made, in words."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ulfine_cache.sources.source import SourceItem, stamp
from ulfine_cache.store.shards import read_groups, read_hashes, read_header, read_labels, read_paths, read_skipped
from ulfine_cache.wording.counts import amount

_UNKNOWN = 0
_NUMBER = np.uint64


class _Rows(NamedTuple):
    """Images as numbers, 8 bytes each instead of a path: there may be millions. A stamp of 0 is not known."""

    paths: npt.NDArray[np.uint64]
    stamps: npt.NDArray[np.uint64]
    labels: npt.NDArray[np.int64]
    sets: npt.NDArray[np.str_]
    groups: npt.NDArray[np.uint64]


def what_changed(
    shards: Iterable[Path],
    items: Iterable[SourceItem],
    old_classes: Sequence[str] | None,
    new_classes: Sequence[str],
    words: Sequence[str],
) -> str:
    """Say what became of the images of shards that are out of date.

    A file that was moved or renamed is one removed and one added.

    Args:
        shards: The shards, sound.
        items: The images that are listed now in the blocks that are made anew.
        old_classes: What the classes were called when the shards were made, None where that is not known.
        new_classes: What they are called now.
        words: What else is asked for than before, such as "other templates".

    Returns:
        Such as "2 images added, 1 image removed, 3 labels changed".

    Raises:
        UlfineError: A shard is damaged.
    """
    old, new = _of_shards(shards), _of_items(items)
    _, before, after = np.intersect1d(old.paths, new.paths, assume_unique=True, return_indices=True)
    stamps = old.stamps[before], new.stamps[after]
    known = (stamps[0] != _UNKNOWN) & (stamps[1] != _UNKNOWN)
    labels = _names(old.labels[before], old_classes or new_classes), _names(new.labels[after], new_classes)
    parts = [
        (len(new.paths) - len(after), "image", "added"),
        (len(old.paths) - len(before), "image", "removed"),
        (int((known & (stamps[0] != stamps[1])).sum()), "file", "changed or touched"),
        (0 if "other classes" in words else int((known & (labels[0] != labels[1])).sum()), "label", "changed"),
        (int((known & (old.sets[before] != new.sets[after])).sum()), "set", "changed"),
        (int((known & (old.groups[before] != new.groups[after])).sum()), "group", "changed"),
    ]
    said = [f"{amount(count, thing)} {what}" for count, thing, what in parts if count]
    if old_classes is not None and "other classes" not in words:
        said += _of_classes(set(old_classes), set(new_classes))
    return ", ".join([*said, *words]) or "the images come in another order, or more of them can be read"


def _of_classes(old: set[str], new: set[str]) -> list[str]:
    counts = (len(new - old), "added"), (len(old - new), "removed")
    return [f"{amount(count, 'class')} {what}" for count, what in counts if count]


def _names(labels: npt.NDArray[np.int64], classes: Sequence[str]) -> npt.NDArray[np.object_]:
    # The last one is what -1 leads to.
    return np.array([*classes, ""], object)[labels]


def _of_shards(shards: Iterable[Path]) -> _Rows:
    # Concatenating needs at least one part.
    paths, stamps = [np.empty(0, _NUMBER)], [np.empty(0, _NUMBER)]
    labels, sets, groups = [np.empty(0, np.int64)], [np.empty(0, "U5")], [np.empty(0, _NUMBER)]
    for shard in shards:
        if read_header(shard).n_rows:
            paths.append(_numbers(map(bytes, read_paths(shard))))
            stamps.append(np.array([int(text[:16] or b"0", 16) for text in read_hashes(shard)[1]], _NUMBER))
            label, set_name = read_labels(shard)
            labels.append(label)
            sets.append(set_name)
            groups.append(_of_groups(read_groups(shard) or [""] * len(label)))
        skipped = [path.encode("utf-8", "surrogateescape") for path, _ in read_skipped(shard)]
        paths.append(_numbers(skipped))
        stamps.append(np.full(len(skipped), _UNKNOWN, _NUMBER))
        labels.append(np.full(len(skipped), -1, np.int64))
        sets.append(np.full(len(skipped), "", "U5"))
        groups.append(_of_groups([""] * len(skipped)))
    numbers = np.concatenate(paths), np.concatenate(stamps)
    return _Rows(*numbers, np.concatenate(labels), np.concatenate(sets), np.concatenate(groups))


def _of_items(items: Iterable[SourceItem]) -> _Rows:
    paths, stamps, labels, sets, groups = [], [], [], [], []
    for item in items:
        paths.append(_number(item.path.encode("utf-8", "surrogateescape")))
        stamps.append(int(stamp(item)[:16], 16) if item.size >= 0 else _UNKNOWN)
        labels.append(item.label)
        sets.append(item.set_name)
        groups.append(item.group)
    numbers = np.array(paths, _NUMBER), np.array(stamps, _NUMBER)
    return _Rows(*numbers, np.array(labels, np.int64), np.array(sets, "U5"), _of_groups(groups))


def _of_groups(groups: Iterable[str]) -> npt.NDArray[np.uint64]:
    return _numbers(group.encode("utf-8", "surrogateescape") for group in groups)


def _numbers(paths: Iterable[bytes]) -> npt.NDArray[np.uint64]:
    return np.array([_number(path) for path in paths], _NUMBER)


def _number(path: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(path, digest_size=8).digest())
