"""`ulfine verify`: read a cache completely, say what is damaged, and repair it if asked."""

from pathlib import Path
from typing import Any

from ulfine_cache.config import StrictConfig
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.repairing.integrity import find_problems, foreign_files, read_attributes
from ulfine_cache.repairing.repair import repair_problems
from ulfine_cache.store.cache_file import read_shard_table
from ulfine_cache.store.layout import SPLITS

_NAMED = 5


class VerifyConfig(StrictConfig):
    """The parameters of `verify`."""

    cache: Path
    repair: bool = False


def verify(*, cache: Path, repair: bool = False, progress: Progress = Silent()) -> dict[str, Any]:  # noqa: B008
    """Read every byte of a cache and compare every checksum; with `repair` make damaged files anew.

    Checked are: the SHA-256 of `cache.h5`, of each shard, of the index and of each split (a flipped bit anywhere in a
    file), HDF5's own checksums, that features are finite and of unit norm, that labels, index and splits belong
    to the features, and that `skipped.csv` says what the shards say. Files that are not part of the cache are noted.

    Repaired are shards (from the images or the file that the cache was made of), the index, `skipped.csv` and the
    digest of `cache.h5`. A damaged file is replaced only by a complete one, and a shard only by the same bytes: where
    images or libraries have changed since, nothing is replaced and the line says what to do.

    Args:
        cache: The cache directory.
        repair: Make damaged files anew where that is possible.
        progress: Receives the stage "verifying" in shards, that of the repair, and notes.

    Returns:
        Figures: cache, rows, shards, bytes (of shards), splits, index, foreign (names of files that are not part of
        the cache), repaired (list of {"path", "how"}), damaged (list of {"path", "reason"}, empty if all is well, after
        any repair). With a damaged cache.h5 only cache, repaired and damaged.

    Raises:
        UlfineError: There is no cache that could be opened at all, or it cannot be repaired.

    Example:
        >>> verify(cache=Path("photos-cache"))["damaged"]
        []
    """
    config = VerifyConfig.checked(cache=cache, repair=repair)
    problems = find_problems(config.cache, progress=progress)
    repaired = repair_problems(config.cache, problems, progress=progress) if config.repair and problems else []
    if problems and not config.repair:
        progress.note("--repair makes damaged files anew where that is possible")
    if repaired:
        problems = find_problems(config.cache, progress=progress)
    figures: dict[str, Any] = {"cache": str(config.cache)}
    if not any(problem.part == "cache file" for problem in problems):
        table = read_shard_table(config.cache)
        foreign = foreign_files(config.cache)
        if foreign:
            more = f" and {len(foreign) - _NAMED} more" if len(foreign) > _NAMED else ""
            progress.note(f"not part of the cache: {', '.join(foreign[:_NAMED])}{more}")
        figures |= {
            "rows": int(table.rows.sum()),
            "shards": len(table.paths),
            "bytes": int(table.sizes.sum()),
            "splits": len(list((config.cache / SPLITS).glob("*.h5"))),
            "index": read_attributes(config.cache).get("index", "none"),
            "foreign": foreign,
        }
    return figures | {
        "repaired": [{"path": str(path), "how": how} for path, how in repaired],
        "damaged": [{"path": str(path), "reason": why} for _, path, why in problems],
    }
