"""`ulfine verify`: read a cache completely, say what is damaged, and repair it if asked."""

from pathlib import Path
from typing import Any

from ulfine_cache.command import Place, command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.remote.places import url_of

_NAMED = 5


@command
def verify(
    *,
    cache: Place,
    repair: bool = False,
    source: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Read a cache completely and check every checksum.

    Each damaged thing is named; the command line then ends with the exit code 1. With `repair` damaged shards are made
    again, alone, from the images, and replaced only by the same bytes.

    Args:
        cache: Directory of the cache.
        repair: Make damaged files anew where that is possible.
        source: Also read all the images that the cache was made of, and compare what is in them, whatever their sizes
            and times; the next cache-features encodes what differs.
        progress: Receives the stage "verifying" in shards, that of the repair, and notes.

    Returns:
        Figures: cache, rows, shards, bytes (of shards), splits, index, foreign (names of files that are not part of
        the cache), repaired (list of {"path", "how"}), damaged (list of {"path", "reason"}, empty if all is well, after
        any repair), stale (with `source`: list of {"path", "reason"} of images that are not what was encoded, else
        None). With a damaged cache.h5 only cache, repaired, damaged and stale.

    Note:
        Checked are: the SHA-256 of ``cache.h5``, of each shard, of the index and of each split (a flipped bit anywhere
        in a file), HDF5's own checksums, that features are finite and of unit norm, that labels, index and splits
        belong to the features, and that ``skipped.csv`` says what the shards say. Files that are not part of the cache
        are noted.

        Repaired are shards (from the images or the file that the cache was made of), the index, ``skipped.csv`` and the
        digest of ``cache.h5``. A damaged file is replaced only by a complete one, and a shard only by the same bytes:
        where images or libraries have changed since, nothing is replaced and the line says what to do. What killed
        commands left in the cache is removed.

    Raises:
        UlfineError: There is no cache that could be opened at all, it cannot be repaired, or what it was made of is
            gone.

    Example:
        >>> verify(cache=Path("photos-cache"))["damaged"]
        []
    """
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.repairing.compare_source import stale_images
    from ulfine_cache.repairing.integrity import find_problems, foreign_files, read_attributes
    from ulfine_cache.repairing.repair import remove_leftovers, repair_problems
    from ulfine_cache.store.cache_file import read_shard_table
    from ulfine_cache.store.layout import SPLITS

    if repair and url_of(cache) is not None:
        raise UlfineError(
            f"{cache} is not on this machine, and --repair is for caches that are: delete what is damaged there, and "
            "run the command that made the cache again, it keeps the rest"
        )
    problems = find_problems(cache, progress=progress)
    repaired: list[tuple[Path, str]] = []
    tried: set[Path] = set()
    # What is made from the shards can be judged only when they are whole.
    while repair and any(problem.path not in tried for problem in problems):
        tried.update(problem.path for problem in problems)
        repaired += repair_problems(cache, problems, progress=progress)
        problems = find_problems(cache, progress=progress)
    if repair:
        remove_leftovers(cache)
    elif problems:
        progress.note("--repair makes damaged files anew where that is possible")
    stale = None
    if source and all(problem.part in ("split", "digest") for problem in problems):
        opened = FeatureCache.open(cache, checked=False)
        stale = [{"path": path, "reason": why} for path, why in stale_images(opened, progress=progress)]
    figures: dict[str, Any] = {"cache": str(cache)}
    if not any(problem.part == "cache file" for problem in problems):
        table = read_shard_table(cache)
        foreign = foreign_files(cache)
        if foreign:
            more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
            progress.note(f"not part of the cache: {', '.join(foreign[:_NAMED])}{more}")
        figures |= {
            "rows": int(table.rows.sum()),
            "shards": len(table.paths),
            "bytes": int(table.sizes.sum()),
            "splits": len(list((cache / SPLITS).glob("*.h5"))),
            "index": read_attributes(cache).get("index", "none"),
            "foreign": foreign,
        }
    return figures | {
        "repaired": [{"path": str(path), "how": how} for path, how in repaired],
        "damaged": [{"path": str(path), "reason": why} for _, path, why in problems],
        "stale": stale,
    }
