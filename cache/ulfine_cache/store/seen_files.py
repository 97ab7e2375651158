"""`NAME.seen` beside a shard: which files its images were in; others of the same names, sizes and times are noticed.

It holds one number for each image of the block (`ulfine_cache.sources.source.identity`), 8 bytes, little-endian: those
with a row in the order of the rows, then those that were skipped in theirs. It is about one place on one machine and
not part of what a cache says: where it is missing, damaged or of another place, the images are read once and compared.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ulfine_cache.atomic import replacing

SEEN = ".seen"
"""Suffix of these files."""


def seen_path(shard: Path) -> Path:
    """Return the name of the file that belongs to a shard."""
    return shard.with_name(shard.name + SEEN)


def write_seen(shard: Path, identities: Sequence[int]) -> None:
    """Write the file of a shard, which need not exist yet.

    Raises:
        UlfineError: The directory cannot be written.
    """
    with replacing(seen_path(shard), goes_on=True) as partial:
        partial.write_bytes(np.array(identities, "<u8").tobytes())


def read_seen(shard: Path, count: int) -> npt.NDArray[np.uint64] | None:
    """Read the file of a shard.

    Args:
        shard: The shard.
        count: Images of its block.

    Returns:
        uint64 (count,), or None where nobody knows.
    """
    try:
        found = np.frombuffer(seen_path(shard).read_bytes(), "<u8").astype(np.uint64)
    except (OSError, ValueError):
        return None
    return found if len(found) == count else None
