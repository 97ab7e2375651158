"""Single rows straight from the shards, by their place in the mapped file: HDF5 would read chunks of 256 rows."""

import mmap
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from ulfine_cache.store.datasets import UNREADABLE, dataset
from ulfine_cache.store.objects.copies import is_given_up
from ulfine_cache.store.shards import damaged, numbers, open_shard, read_features

_MOST_MAPPED = 16_384
"""Shards that stay mapped; Linux lets a process have 65,530 maps."""


class StoredRows:
    """The first views of a cache's rows, as they are in its shards.

    A shard is compared with its digest and mapped when a row of it is first asked for; its pages come from the disk as
    they are needed and memory may let go of them again.

    Args:
        shards: Shards in the order of the rows.
        counts: int64 (n,), the rows in each.
        width: Values D of a feature.
    """

    def __init__(self, shards: Sequence[Path], counts: npt.ArrayLike, width: int) -> None:
        self._shards, self._width = list(shards), width
        self._ends = np.cumsum(np.asarray(counts, np.int64))
        self._starts = self._ends - np.asarray(counts, np.int64)
        self._mapped: dict[int, _MappedShard | None] = {}

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        """Read rows in any order, and more than once where they come twice.

        Args:
            rows: int64 (n,), each of them there.

        Returns:
            float16 (n, D), not brought to unit norm again.

        Raises:
            UlfineError: A shard is missing or damaged, or holds what is no number.
        """
        found = np.empty((len(rows), self._width), np.float16)
        # In the order of the disk, one shard after the other.
        order = np.argsort(rows, kind="stable")
        rising = rows[order]
        shard_of = np.searchsorted(self._ends, rising, side="right")
        numbers_there, first = np.unique(shard_of, return_index=True)
        for number, start, end in zip(numbers_there, first, [*first[1:], len(rows)], strict=True):
            own = rising[start:end] - self._starts[number]
            shard = self._shard(int(number))
            if shard is None:
                unique, place = np.unique(own, return_inverse=True)
                found[order[start:end]] = read_features(self._shards[number], 0, unique)[place]
            else:
                found[order[start:end]] = shard.read(own)
        return found

    def _shard(self, number: int) -> "_MappedShard | None":
        if number not in self._mapped:
            if len(self._mapped) >= _MOST_MAPPED:
                self._mapped.clear()
            self._mapped[number] = _map_shard(self._shards[number], self._width)
        return self._mapped[number]


class _MappedShard:
    """A shard whose chunks hold float16 values as they are."""

    def __init__(self, path: Path, chunk_starts: npt.NDArray[np.int64], chunk_shape: tuple[int, int, int]) -> None:
        self._path, self._starts = path, chunk_starts
        self._rows, views, self._width = chunk_shape
        self._row_bytes = 2 * views * self._width
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        # One entry for each byte that a feature may begin at.
        self._anywhere = np.ndarray(len(mapped) - 2 * self._width + 1, f"V{2 * self._width}", mapped, strides=(1,))

    def read(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        """The first view of rows of this shard, float16 (n, D)."""
        chunk, place = np.divmod(rows, self._rows)
        found = self._anywhere[self._starts[chunk] + place * self._row_bytes]
        return numbers(found.view("<f2").reshape(len(rows), self._width), self._path)


def _map_shard(path: Path, width: int) -> _MappedShard | None:
    """Map a shard whose bytes are as they were written; None where its chunks hold something else than the values."""
    with open_shard(path) as file:
        try:
            features = dataset(file, "features")
            if features.shape[2] != width:
                raise ValueError(f"{features.shape[2]} values")
            starts = _chunk_starts(features)
            return None if starts is None else _MappedShard(path, starts, features.chunks or features.shape)
        except UNREADABLE as error:
            if is_given_up(path):
                return _map_shard(path, width)
            raise damaged(path) from error


def _chunk_starts(features: h5py.Dataset) -> npt.NDArray[np.int64] | None:
    """Where each chunk begins in the file, int64 (chunks,); None where a row is not in one piece in one of them."""
    plain = features.compression is None and not features.shuffle and features.dtype == np.dtype("<f2")
    if not plain or features.chunks is None or features.chunks[1:] != features.shape[1:]:
        return None
    starts = np.zeros(-(-features.shape[0] // features.chunks[0]), np.int64)
    for number in range(features.id.get_num_chunks()):
        chunk = features.id.get_chunk_info(number)
        starts[chunk.chunk_offset[0] // features.chunks[0]] = chunk.byte_offset
    # A chunk that was never written has no place.
    return starts if starts.all() else None
