"""Whether a cache still says what its images say: all of them are read, whatever their sizes and times."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Progress
from ulfine_cache.sources.cached_images import recorded_source
from ulfine_cache.sources.source import SourceItem
from ulfine_cache.store.datasets import decode
from ulfine_cache.store.digest_file import file_sha256
from ulfine_cache.store.seen_files import note_seen
from ulfine_cache.store.shards import content_hash, read_hashes, read_paths, read_skipped
from ulfine_cache.store.versions import call_of

_MOST_THREADS = 16


def stale_images(cache: FeatureCache, *, progress: Progress) -> list[tuple[str, str]]:
    """Read all that a cache was made of, and say what is not as it was.

    Args:
        cache: An open, sound cache.
        progress: Receives the stage "comparing" in rows.

    Returns:
        (path, reason), in the order of the rows, then what is new.

    Raises:
        UlfineError: The source is gone or not recorded.
    """
    request = call_of(cache.attributes) or {}
    if "sha256" in request:
        file = Path(request["file"])
        try:
            return [] if file_sha256(file) == request["sha256"] else [(str(file), "has changed since it was imported")]
        except OSError as error:
            raise UlfineError(f"cannot read {file}: {reason(error)}") from error
    if not cache.attributes.get("source"):
        raise UlfineError(f"{cache.path} does not record what it was made of")
    return list(_of_images(cache, progress))


def _of_images(cache: FeatureCache, progress: Progress) -> Iterator[tuple[str, str]]:
    images = recorded_source(cache.attributes)
    items = {item.path: item for item in images.items}
    done = 0

    def judge(path: str, content: bytes) -> str:
        if path not in items:
            return "is gone"
        try:
            same = content_hash(images.read(items[path])).encode() == content
        except (OSError, MemoryError) as error:
            return f"cannot be read: {reason(error)}"
        return "" if same else "holds other bytes than were encoded"

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for shard in cache.shard_paths:
            paths, contents = decode(read_paths(shard)), read_hashes(shard)[0].tolist()
            found = [(path, why) for path, why in zip(paths, pool.map(judge, paths, contents), strict=True) if why]
            yield from found
            if found:
                # So that cache-features looks at them, too.
                note_seen(cache.path, shard, ())
            _forget(items, [*paths, *(path for path, _ in read_skipped(shard))])
            done += len(paths)
            progress.update("comparing", done, cache.n_rows)
    yield from ((path, "is not in the cache") for path in items)


def _forget(items: dict[str, SourceItem], paths: list[str]) -> None:
    for path in paths:
        items.pop(path, None)
