"""The images of a cache, read again from where stage one found them."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache


def source_reader(cache: "FeatureCache", rows: Iterable[int]) -> Callable[[int], bytes]:
    """Give a function from a row of a cache to the bytes of its image file.

    Files of a folder are opened by name. What lies in shards or is listed in a table is looked up in the source, which
    is listed for that once.

    Args:
        cache: An open cache.
        rows: The rows that will be read, which decide whether the source has to be listed.

    Returns:
        The function; it raises OSError where an image cannot be read.

    Raises:
        UlfineError: The source is gone, or the cache was not made from images.
    """
    location = str(cache.attributes.get("source") or "")
    if not location or not cache.attributes.get("weights_hash"):
        raise UlfineError(f"the cache {cache.path} was not made from images")
    folder, paths = Path(location), cache.paths
    if any((folder / paths[row]).is_file() for row in rows):
        return lambda row: (folder / paths[row]).read_bytes()
    from ulfine_cache.sources.open_source import open_source
    from ulfine_cache.sources.source_options import SourceOptions

    source = open_source(folder, SourceOptions.from_request(_request(cache)))
    items = {item.path: item for item in source.items}

    def read(row: int) -> bytes:
        if paths[row] not in items:
            raise FileNotFoundError(paths[row])
        return source.read(items[paths[row]])

    return read


def _request(cache: "FeatureCache") -> dict[str, Any]:
    """Return the command that made the cache; older caches do not record it."""
    recorded = cache.attributes.get("request")
    return json.loads(str(recorded)) if recorded else {}
