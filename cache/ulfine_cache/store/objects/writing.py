"""A cache on object storage as its writers see it: shards appear there one by one, each in one step and once.

There are no locks between machines. What keeps writers apart is that a shard is written where there is none and nowhere
else: of several that made the same one the first counts, and the others take it. Nothing here does anything about
directories of this machine.
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from ulfine_cache.atomic import make_directory, replacing
from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.failures import StorageError, refusal
from ulfine_cache.remote.places import url_of
from ulfine_cache.remote.storage import Found, listing, look, read, remove, upload, write_new, write_over
from ulfine_cache.store.digest_file import DIGEST, digest_path, file_sha256, recorded_sha256
from ulfine_cache.store.layout import CACHE_FILE, FORMER, INDEX_FILE, SEEN, SHARDS, SKIPPED_FILE
from ulfine_cache.store.objects.copies import (
    bring,
    digest_text,
    expect,
    forget_version,
    index_here,
    keep_version,
    version_here,
)
from ulfine_cache.store.objects.disk_space import make_room
from ulfine_cache.store.objects.index_file import INDEX, WHOLE, CacheIndex, Part
from ulfine_cache.store.objects.reading import forget_cache, refresh

_withdrawn: dict[Path, list[str]] = {}
"""What the index that this process has taken away spoke of, by cache: removed when there is a new one."""


def begin(cache: Path, *, alone: bool = True) -> None:
    """Let a directory say which shards are on the storage, before work on a cache begins or goes on.

    Args:
        cache: What stands for its URL, held by the caller.
        alone: No other process of this machine writes there: what is here and not on the storage was left by one that
            was ended, and is removed.

    Raises:
        UlfineError: The storage cannot be used.
    """
    url = url_of(cache)
    if url is None:
        return
    make_directory(cache / SHARDS)
    try:
        refresh(cache)
    except StorageError:
        raise
    except UlfineError:
        forget_cache(cache)
    there = _shards_there(url)
    if not there and alone and not (cache / INDEX).exists():
        shutil.rmtree(cache / FORMER, ignore_errors=True)
        (cache / SEEN).unlink(missing_ok=True)
    _settle(cache, there, alone=alone)


def look_again(cache: Path) -> None:
    """Let a directory say which shards others have made meanwhile.

    Raises:
        UlfineError: The storage cannot be used.
    """
    url = url_of(cache)
    if url is not None:
        _settle(cache, _shards_there(url), alone=False)


def put_shard(path: Path) -> bool:
    """Put a new shard on the storage, if its path stands for one there.

    Returns:
        Whether it counts; False where another process has made it first, whose shard is in its place now.

    Raises:
        UlfineError: The storage cannot be used.
    """
    url = url_of(path)
    if url is None:
        return True
    data = path.read_bytes()
    # An empty file says that another process has seen one there.
    if not data or not write_new(url, data):
        expect(path)
        bring(path)
        return hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(data).digest()
    write_over(url + DIGEST, digest_text(path, hashlib.sha256(data).hexdigest()))
    keep_version(path, look(url).version)
    make_room(len(data), path)
    return True


def withdraw(path: Path) -> None:
    """Remove a shard from the storage, because it is damaged or its images have changed; what is here stays.

    Raises:
        UlfineError: The storage cannot be used.
    """
    url = url_of(path)
    if url is not None:
        remove(url)
        remove(url + DIGEST)
        forget_version(path)


def withdraw_index(cache: Path) -> None:
    """Make a cache an unfinished one, before something in it changes.

    Raises:
        UlfineError: The storage cannot be used.
    """
    url = url_of(cache)
    if url is None:
        return
    former = index_here(cache)
    _withdrawn[cache] = [f"{url}/{part.at}" for part in (former.files if former else ()) if part.name != SKIPPED_FILE]
    remove(f"{url}/{INDEX}")
    (cache / INDEX).unlink(missing_ok=True)


def put_file(path: Path) -> None:
    """Put a small file beside the shards, whatever is there.

    Raises:
        UlfineError: The storage cannot be used.
    """
    url = url_of(path)
    if url is not None:
        write_over(url, path.read_bytes())


def put_split(path: Path) -> None:
    """Put a split on the storage.

    Raises:
        UlfineError: Another process has drawn another one of that name meanwhile, or the storage cannot be used.
    """
    url = url_of(path)
    if url is None:
        return
    data = path.read_bytes()
    if version_here(path) is not None:
        write_over(url, data)
    elif not write_new(url, data) and read(url) != data:
        digest_path(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise UlfineError(f"another process has drawn {url} in the meantime: choose another --name")
    write_over(url + DIGEST, digest_text(path, hashlib.sha256(data).hexdigest()))
    keep_version(path, look(url).version)


def finish(cache: Path, fingerprint: str, shards: Sequence[Part]) -> None:
    """Put what is about all shards on the storage, and at last the index file, with which the cache is finished.

    Args:
        cache: What stands for its URL, with a new `cache.h5`; a directory of this machine is left alone.
        fingerprint: Of the cache.
        shards: In the order of the rows.

    Raises:
        UlfineError: The storage cannot be used.
    """
    url = url_of(cache)
    if url is None:
        return
    for part in shards:
        if version_here(cache / part.name) is None:
            put_shard(cache / part.name)
    sha256 = recorded_sha256(cache / CACHE_FILE) or file_sha256(cache / CACHE_FILE)
    files: list[Part] = []
    for name in (CACHE_FILE, INDEX_FILE):
        path = cache / name
        if path.is_file():
            digits = sha256 if name == CACHE_FILE else file_sha256(path)
            files.append(Part(name, f"{WHOLE}/{sha256[:16]}/{name}", path.stat().st_size, digits))
            upload(path, f"{url}/{files[-1].at}")
    write_over(f"{url}/{files[0].at}{DIGEST}", digest_text(cache / CACHE_FILE, sha256))
    skipped = cache / SKIPPED_FILE
    if skipped.is_file():
        put_file(skipped)
        files.append(Part(SKIPPED_FILE, SKIPPED_FILE, skipped.stat().st_size, file_sha256(skipped)))
    index = CacheIndex(fingerprint, files, shards)
    write_over(f"{url}/{INDEX}", index.to_bytes())
    with replacing(cache / INDEX, durable=False) as partial:
        partial.write_bytes(index.to_bytes())
    for part in files:
        if part.name == INDEX_FILE:
            keep_version(cache / INDEX_FILE, look(f"{url}/{part.at}").version)
    _remove_former(cache, url, files)


def _remove_former(cache: Path, url: str, files: Sequence[Part]) -> None:
    for former in _withdrawn.pop(cache, []):
        if former not in {f"{url}/{part.at}" for part in files}:
            remove(former)
            if former.endswith(CACHE_FILE):
                remove(former + DIGEST)


def _shards_there(url: str) -> dict[str, Found]:
    try:
        found = listing(f"{url}/{SHARDS}")
    except PermissionError as error:
        raise refusal(f"{url}/{SHARDS}", error) from error
    return {each.name: each for each in found if not each.is_folder and each.name.endswith(".h5")}


def _settle(cache: Path, there: dict[str, Found], *, alone: bool) -> None:
    """Keep copies of what is there, expect what has none, and forget what is gone."""
    for path in (cache / SHARDS).glob("*.h5"):
        found, version = there.get(path.name), version_here(path)
        if found is not None and version != found.version and path.stat().st_size:
            # Made here and not put there, or another version: what is there counts.
            expect(path)
        elif found is None and (alone or version is not None or not path.stat().st_size):
            for gone in (path, digest_path(path)):
                gone.unlink(missing_ok=True)
            forget_version(path)
    for name in there:
        if not (cache / SHARDS / name).exists():
            expect(cache / SHARDS / name)
