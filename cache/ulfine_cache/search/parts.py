"""Part-indices: an index of many shards, filled one group of them after the other, so that a killed build goes on."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ulfine_cache.atomic import make_directory, replacing
from ulfine_cache.names.text_path import text_path
from ulfine_cache.progress import Progress
from ulfine_cache.search.exact_search import unit_blocks
from ulfine_cache.store.digest_file import digest_problem, file_sha256, recorded_sha256, write_digest
from ulfine_cache.store.objects.copies import bring
from ulfine_cache.wording.counts import subject

PART_ROWS = 1_000_000
"""Rows that a part holds at least, but for the last one: what memory holds of the codes while they are made."""

_TRAINED = "trained.faiss"


@dataclass(frozen=True)
class _Group:
    shards: Sequence[Path]
    start: int
    n_rows: int


class Parts:
    """The trained, empty index and the parts of one build, in a folder of their own.

    The folder's name changes with everything that the bytes depend on: the kind, the shards' digests, how they are
    grouped and the version of FAISS. So what is found there is a part of the same index.

    Args:
        folder: Folder for the parts of any build; what other builds left there is deleted.
        shards: Shards in the order of the rows.
        counts: Rows in each.
        kind: FAISS factory string, of a mergeable kind.
    """

    def __init__(self, folder: Path, shards: Sequence[Path], counts: Sequence[int], kind: str) -> None:
        import faiss

        self._groups = _grouped(shards, counts)
        digests = [recorded_sha256(shard) or _sha256(shard) for shard in shards]
        starts = [group.start for group in self._groups]
        key = hashlib.sha256(json.dumps([kind, faiss.__version__, starts, digests]).encode()).hexdigest()[:16]
        self._folder = folder / key
        make_directory(self._folder)
        for other in folder.iterdir():
            if other != self._folder:
                shutil.rmtree(other, ignore_errors=True)

    def fill(self, train: Callable[[], Any], progress: Progress, done_before: int, total: int) -> None:
        """Train the index and fill the parts, less those that are there.

        Args:
            train: Returns the trained, empty index.
            progress: Receives the stage "indexing" in rows, and a note where there is something already.
            done_before: Rows of the stage that came before.
            total: Rows of the stage.

        Raises:
            UlfineError: A shard is damaged, the index cannot be trained, or the folder cannot be written.
        """
        there = [_is_sound(path) for path in self.paths]
        if not _is_sound(self._folder / _TRAINED):
            there = [False] * len(there)
            _write(train(), self._folder / _TRAINED)
        if any(there):
            progress.note(f"index: going on: {sum(there)} of {subject(len(there), 'part', 'is/are')} built")
        for path, group, built in zip(self.paths, self._groups, there, strict=True):
            if not built:
                part, row = self.trained(), group.start
                for block in unit_blocks(group.shards):
                    part.add_with_ids(block, np.arange(row, row + len(block)))
                    row += len(block)
                    progress.update("indexing", done_before + row, total)
                _write(part, path)
            progress.update("indexing", done_before + group.start + group.n_rows, total)

    def trained(self) -> Any:
        """Read the trained, empty index."""
        return read_faiss(self._folder / _TRAINED)

    @property
    def paths(self) -> list[Path]:
        """Files of the parts, in the order of the rows."""
        return [self._folder / f"{number:05d}.faiss" for number in range(len(self._groups))]


def read_faiss(path: Path, flags: int = 0) -> Any:
    """Read an index whose file may lie in a folder of any name; `flags` as `faiss.read_index` takes them."""
    import faiss

    with text_path(path) as name:
        return faiss.read_index(name, flags)


def _sha256(shard: Path) -> str:
    bring(shard)
    return file_sha256(shard)


def _grouped(shards: Sequence[Path], counts: Sequence[int]) -> list[_Group]:
    groups: list[_Group] = []
    own: list[Path] = []
    start = row = 0
    for shard, count in zip(shards, counts, strict=True):
        own.append(shard)
        row += int(count)
        if row - start >= PART_ROWS:
            groups.append(_Group(own, start, row - start))
            own, start = [], row
    return [*groups, _Group(own, start, row - start)] if row > start else groups


def _write(index: Any, path: Path) -> None:
    import faiss

    with replacing(path, goes_on=True) as partial:
        with text_path(partial) as name:
            faiss.write_index(index, name)
        write_digest(path, file_sha256(partial))


def _is_sound(path: Path) -> bool:
    try:
        return path.is_file() and digest_problem(path) is None
    except OSError:
        return False
