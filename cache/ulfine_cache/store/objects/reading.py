"""A cache on object storage as its readers see it: a local directory that agrees with its index file."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ulfine_cache.atomic import make_directory, replacing
from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.failures import refusal
from ulfine_cache.remote.places import url_of
from ulfine_cache.remote.storage import Found, listing, read
from ulfine_cache.store.digest_file import DIGEST, digest_path, recorded_sha256
from ulfine_cache.store.layout import CACHE_FILE, INDEX_FILE, SHARDS, SKIPPED_FILE, SPLITS
from ulfine_cache.store.objects.copies import (
    digest_text,
    expect,
    fetch,
    forget_version,
    index_here,
    keep_version,
    version_here,
    write_digest_here,
)
from ulfine_cache.store.objects.index_file import INDEX, CacheIndex, Part


def refresh(cache: Path, *, anew: bool = False) -> None:
    """Let the local copy of a cache say what the cache on the storage says; shards are fetched when they are read.

    Args:
        cache: What stands for its URL; a directory of this machine is left alone.
        anew: Give up all copies, so that every byte is read from the storage.

    Raises:
        UlfineError: There is no cache, it is unfinished or damaged, or the storage cannot be used.
    """
    url = url_of(cache)
    if url is None:
        return
    data = _index_bytes(url)
    if data is None:
        if listing(f"{url}/{SHARDS}"):
            raise UlfineError(f"the cache {url} is unfinished: run the command that makes it again, it goes on")
        if listing(url):
            raise UlfineError(f"{url} is not a cache: it has no {INDEX}")
        raise UlfineError(f"no cache at {url}: `ulfine cache-features` makes one")
    index = CacheIndex.parsed(data, f"{url}/{INDEX}")
    for folder in (cache, cache / SHARDS, cache / SPLITS):
        make_directory(folder)
    same = not anew and _is_seen(cache, data)
    sound = [_refresh_file(cache, url, part, same=same) for part in index.files]
    if not same:
        _refresh_shards(cache, index.shards, anew=anew)
        if index.part(INDEX_FILE) is None:
            (cache / INDEX_FILE).unlink(missing_ok=True)
        (cache / INDEX).unlink(missing_ok=True)
        # What is damaged is fetched again the next time.
        if all(sound):
            with replacing(cache / INDEX, durable=False) as partial:
                partial.write_bytes(data)
    _refresh_splits(cache, url, anew=anew)


def size_there(cache: Path) -> int | None:
    """Return the bytes of a refreshed cache on the storage, or None for a directory of this machine."""
    index = index_here(cache) if url_of(cache) is not None else None
    splits = (path.stat().st_size for path in (cache / SPLITS).glob("*.h5"))
    return None if index is None else sum(part.bytes for part in (*index.files, *index.shards)) + sum(splits)


def _index_bytes(url: str) -> bytes | None:
    try:
        return read(f"{url}/{INDEX}")
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise refusal(url, error) from error


def _is_seen(cache: Path, data: bytes) -> bool:
    try:
        return (cache / INDEX).read_bytes() == data
    except OSError:
        return False


def _refresh_file(cache: Path, url: str, part: Part, *, same: bool) -> bool:
    """Have a copy of a file about all shards, and say whether it is what was written."""
    path = cache / part.name
    if part.name == INDEX_FILE:
        # Large, and few commands read it.
        if not (same and path.exists()):
            expect(path)
        return True
    if path.exists() and same and (part.name != CACHE_FILE or recorded_sha256(path) == part.sha256):
        return True
    try:
        sha256 = fetch(f"{url}/{part.at}", path, part.bytes)
    except FileNotFoundError:
        raise UlfineError(
            f"{url}/{part.at} is gone, perhaps because the cache is written anew: run the same command again, or the "
            "command that made the cache"
        ) from None
    if part.name == CACHE_FILE:
        write_digest_here(path, digest_text(path, part.sha256))
    # Whoever wants to know about skipped.csv compares it with the shards.
    return sha256 == part.sha256 or part.name == SKIPPED_FILE


def _refresh_shards(cache: Path, shards: Sequence[Part], *, anew: bool) -> None:
    expected = {cache / part.name: part for part in shards}
    for path in set((cache / SHARDS).glob("*.h5")) - set(expected):
        for gone in (path, digest_path(path)):
            gone.unlink(missing_ok=True)
        forget_version(path)
    for path, part in expected.items():
        if anew or recorded_sha256(path) != part.sha256 or not path.exists():
            expect(path)


def _refresh_splits(cache: Path, url: str, *, anew: bool) -> None:
    there = {found.name: found for found in listing(f"{url}/{SPLITS}") if not found.is_folder}
    splits = {name: found for name, found in there.items() if name.endswith(".h5")}
    for path in (cache / SPLITS).glob("*.h5"):
        if path.name not in splits:
            _forget_split(path)
    for name, found in splits.items():
        path = cache / SPLITS / name
        if not anew and path.exists() and version_here(path) == found.version:
            continue
        _fetch_split(path, found, there.get(name + DIGEST))


def _fetch_split(path: Path, found: Found, digest: Found | None) -> None:
    try:
        sha256 = fetch(found.url, path, found.size)
        text = read(digest.url) if digest else digest_text(path, sha256)
    except FileNotFoundError:
        _forget_split(path)
        return
    write_digest_here(path, text)
    keep_version(path, found.version)


def _forget_split(path: Path) -> None:
    for gone in (path, digest_path(path)):
        gone.unlink(missing_ok=True)
    forget_version(path)


def forget_cache(cache: Path) -> None:
    """Remove local copies of what is about all shards, and what is noted beside them."""
    for name in (CACHE_FILE, CACHE_FILE + DIGEST, INDEX_FILE, INDEX):
        (cache / name).unlink(missing_ok=True)
    forget_version(cache / INDEX_FILE)
    shutil.rmtree(cache / SPLITS, ignore_errors=True)
