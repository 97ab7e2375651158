"""Make the damaged files of a cache anew; nothing is replaced before its replacement is complete and right."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ulfine_cache.atomic import PARTIAL, remove_partial_files
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.progress import Progress
from ulfine_cache.repairing.integrity import Problem, read_attributes
from ulfine_cache.repairing.rebuild import rebuild_shards
from ulfine_cache.search.index import index_cache
from ulfine_cache.store.cache_file import read_shard_table
from ulfine_cache.store.datasets import replacing_file
from ulfine_cache.store.digest_file import DIGEST, file_sha256, write_digest
from ulfine_cache.store.layout import CACHE_FILE, INDEX_FILE, INDEX_PARTS, SCRATCH, SHARDS, SPLITS
from ulfine_cache.store.lock import writing
from ulfine_cache.store.shards import read_skipped
from ulfine_cache.store.skipped import write_skipped


def repair_problems(cache: Path, problems: Sequence[Problem], *, progress: Progress) -> list[tuple[Path, str]]:
    """Repair what can be repaired; a damaged split stays, because only the command that drew it knows it.

    Shards come first, because the rest is made from them.

    Args:
        cache: The cache directory.
        problems: What `find_problems` found.
        progress: Receives the stages of the work.

    Returns:
        (file, how) of each file that is whole again.

    Raises:
        UlfineError: `cache.h5` is damaged, the source is gone or has changed, another process writes to the cache, or
            the directory cannot be written.
    """
    by_part: dict[str, list[Path]] = {}
    for part, path, _ in problems:
        by_part.setdefault(part, []).append(path)
    if "cache file" in by_part:
        raise UlfineError(
            f"{cache / CACHE_FILE} is damaged, and with it the record of what the cache was made from: run the command "
            "that made the cache again, it keeps the shards"
        )
    repaired: list[tuple[Path, str]] = []
    with writing(cache):
        shards = by_part.get("shard", [])
        if shards:
            how = rebuild_shards(cache, shards, progress=progress)
            repaired += [(path, how) for path in shards]
        for path in by_part.get("skipped", []):
            write_skipped(cache, (row for shard in read_shard_table(cache).paths for row in read_skipped(shard)))
            repaired.append((path, "written anew from the shards"))
        for path in by_part.get("index", []):
            repaired.append((path, _rebuild_index(cache, progress)))
        for path in by_part.get("digest", []):
            target = path.with_name(path.name.removesuffix(DIGEST))
            write_digest(target, file_sha256(target))
            repaired.append((path, f"written anew for {target.name} as it is"))
    return repaired


def remove_leftovers(cache: Path) -> None:
    """Delete what killed commands left in a cache.

    Raises:
        UlfineError: There is something, and another process writes to the cache, or the directory cannot be written.
    """
    folders = [cache, cache / SHARDS, cache / SPLITS]
    scratch = [cache / SCRATCH, cache / INDEX_PARTS]
    partial = (path for folder in folders for path in folder.glob(f"*{PARTIAL}"))
    if any(folder.exists() for folder in scratch) or any(partial):
        with writing(cache):
            for folder in folders:
                remove_partial_files(folder)
            for folder in scratch:
                shutil.rmtree(folder, ignore_errors=True)


def _rebuild_index(cache: Path, progress: Progress) -> str:
    shards = FeatureCache.open(cache).shard_paths
    recorded = read_attributes(cache)
    request = recorded.get("index_request", recorded["index"])
    report = index_cache(cache, shards, request, progress=progress)
    digest = file_sha256(cache / INDEX_FILE)
    if digest == recorded.get("index_sha256"):
        return "built anew from the shards, byte for byte the same"
    with replacing_file(cache / CACHE_FILE, start=cache / CACHE_FILE, digest=True) as file:
        for name, value in {**report.attributes(), "index_sha256": digest}.items():
            file.attrs[name] = value
    return f"built anew from the shards, and its digest written into {CACHE_FILE}"
