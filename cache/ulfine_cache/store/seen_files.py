"""Which files a cache's images were in, so that others of the same names, sizes and times are noticed.

One number for each image (`ulfine_cache.sources.source.identity`): for each shard those with a row in the order of the
rows, then those that were skipped in theirs. `cache.h5` holds them; what it does not hold yet stands in the file
`.seen`, a line for each shard, of which the last one counts. They are about one place on one machine: where they are
missing or do not fit, the images are read once and compared. So nothing fails when they cannot be written.
"""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.places import url_of
from ulfine_cache.store.datasets import (
    UNREADABLE,
    open_for_reading,
    read_array,
    read_texts,
    replacing_file,
    write_array,
)
from ulfine_cache.store.layout import CACHE_FILE, SEEN
from ulfine_cache.store.regular import check_regular

Identities = npt.NDArray[np.uint64]

_LINE = re.compile(r"(\S+) ((?:[0-9a-f]{16})*)")


def note_seen(cache: Path, shard: Path, identities: Sequence[int] | Identities) -> None:
    """Write down what the files of a shard are, before the shard itself.

    Args:
        cache: The cache directory, held by the caller.
        shard: A file in it.
        identities: Of its images; none where nobody knows.
    """
    if (cache / SEEN).is_fifo():
        return  # would be waited for
    digits = np.array(identities, ">u8").tobytes().hex()
    with contextlib.suppress(OSError), (cache / SEEN).open("ab", buffering=0) as file:
        # A killed process may have left the beginning of a line; several processes may write, each a line at once.
        file.write(f"\n{shard.relative_to(cache).as_posix()} {digits}\n".encode("ascii"))


def read_seen(cache: Path) -> dict[Path, Identities]:
    """Return what is known, by shard."""
    return _recorded(cache) | _noted(cache)


def keep_seen(cache: Path) -> None:
    """Write down what `cache.h5` holds and nothing else does, before it goes."""
    noted = _noted(cache)
    for shard, identities in _recorded(cache).items():
        if shard not in noted:
            note_seen(cache, shard, identities)


def put_seen(file: h5py.File, cache: Path, shards: Sequence[Path]) -> None:
    """Put what is known of the shards into a new `cache.h5`, if there is anything."""
    noted = read_seen(cache)
    if not noted.keys() & set(shards):
        return
    known = [noted.get(shard, np.empty(0, np.uint64)) for shard in shards]
    for name in ("seen", "shard_seen"):
        if name in file:
            del file[name]
    write_array(file, "seen", np.concatenate(known))
    write_array(file, "shard_seen", np.array([len(part) for part in known], np.int64))


def fold_seen(cache: Path, shards: Sequence[Path]) -> None:
    """Bring what was written down about a complete cache into its `cache.h5`; on a full disk it stays where it is."""
    # A cache on a storage is not written anew for it.
    if (cache / SEEN).exists() and url_of(cache) is None:
        with contextlib.suppress(UlfineError):
            with replacing_file(cache / CACHE_FILE, start=cache / CACHE_FILE, digest=True) as file:
                put_seen(file, cache, shards)
            (cache / SEEN).unlink()


def _recorded(cache: Path) -> dict[Path, Identities]:
    try:
        with open_for_reading(cache / CACHE_FILE) as file:
            if "seen" not in file:
                return {}
            ends = np.cumsum(read_array(file, "shard_seen"))
            parts = np.split(read_array(file, "seen").astype(np.uint64), ends[:-1])
            return dict(zip([cache / name for name in read_texts(file, "shard_path")], parts, strict=True))
    except (*UNREADABLE, UlfineError):
        return {}


def _noted(cache: Path) -> dict[Path, Identities]:
    try:
        check_regular(cache / SEEN)
        lines = (cache / SEEN).read_text("ascii", errors="replace").splitlines()
    except OSError:
        return {}
    found = (_LINE.fullmatch(line) for line in lines)
    return {
        cache / line[1]: np.frombuffer(bytes.fromhex(line[2]), ">u8").astype(np.uint64)
        for line in found
        if line is not None
    }
