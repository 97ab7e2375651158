"""Whether files that look as they did still hold what they held."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ulfine_cache.remote.places import place, url_of
from ulfine_cache.sources.source import ImageSource, SourceItem, identity
from ulfine_cache.store.seen_files import Identities, note_seen
from ulfine_cache.store.shards import content_hash, read_hashes, read_skipped


def identities(source: ImageSource, block: Sequence[SourceItem]) -> dict[str, int]:
    """Return the `identity` of each image of a block by its path."""
    return {item.path: identity(source, item) for item in block}


def same_contents(
    cache: Path,
    source: ImageSource,
    block: Sequence[SourceItem],
    shard: Path,
    before: Identities | None,
    workers: int,
) -> bool:
    """Say whether the images of a block, whose listing has not changed, are those of its shard.

    Only files that are not the very ones that were seen are read. Where all of them hold the same bytes as before, the
    next call knows them.

    Args:
        cache: The cache directory, locked by the caller.
        source: Where the images are.
        block: The block.
        shard: Its shard.
        before: What is known of the shard's files.
        workers: Threads that read.

    Raises:
        UlfineError: The shard is damaged.
    """
    rows, found = _of_shard(source, block, shard)
    if before is not None and len(before) != len(found):
        before = None
    if before is not None and (before == found).all():
        return True
    if before is None and url_of(place(source.location)) is not None:
        # Of a storage the listing says all that can be known without reading: it has the versions in it.
        return True
    # Nobody knows what was in a file that could not be read.
    if before is not None and (before[len(rows) :] != found[len(rows) :]).any():
        return False
    contents = read_hashes(shard)[0].tolist()
    if len(contents) != len(rows):
        return False
    doubtful = (
        range(len(rows)) if before is None else np.flatnonzero(before[: len(rows)] != found[: len(rows)]).tolist()
    )

    def is_same(row: int) -> bool:
        try:
            return content_hash(source.read(rows[row])).encode() == contents[row]
        except (OSError, MemoryError):
            return False

    with ThreadPoolExecutor(workers) as pool:
        same = all(pool.map(is_same, doubtful))
    if same:
        note_seen(cache, shard, found)
    return same


def know_files(cache: Path, source: ImageSource, block: Sequence[SourceItem], shard: Path) -> None:
    """Take the images of a block for those of its shard without reading them.

    Raises:
        UlfineError: The shard is damaged.
    """
    note_seen(cache, shard, _of_shard(source, block, shard)[1])


def _of_shard(
    source: ImageSource, block: Sequence[SourceItem], shard: Path
) -> tuple[list[SourceItem], npt.NDArray[np.uint64]]:
    """The images that have a row, in their order, and the identities in that of a shard's file of them."""
    now = identities(source, block)
    skipped = [path for path, _ in read_skipped(shard, checked=False)]
    without_row = set(skipped)
    rows = [item for item in block if item.path not in without_row]
    found = [*(now[item.path] for item in rows), *(now.get(path, 0) for path in skipped)]
    return rows, np.array(found, np.uint64)
