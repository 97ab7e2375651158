"""The images of a cache, read again from where stage one found them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.elsewhere.found_part import SOURCE_ORIGIN
from ulfine_cache.errors import UlfineError
from ulfine_cache.pictures.pixel_range import AUTO, Range, parse_pixel_range
from ulfine_cache.remote.places import place
from ulfine_cache.sources.open_source import open_source
from ulfine_cache.sources.own_source import own_source_missing
from ulfine_cache.sources.source import ImageSource
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.store.versions import call_of

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache


def cached_images(cache: "FeatureCache") -> Callable[[int], bytes]:
    """Give a function from a row of a cache to the bytes of its image file.

    Args:
        cache: An open cache.

    Returns:
        The function; it raises OSError where an image cannot be read.

    Raises:
        UlfineError: The source is gone, or the cache was not made from images.
    """
    if not cache.attributes.get("source") or not cache.attributes.get("weights_hash"):
        raise UlfineError(f"the cache {cache.path} was not made from images")
    paths = cache.paths
    listed = recorded_source(cache.attributes)
    items = {item.path: item for item in listed.items}

    def read(row: int) -> bytes:
        if paths[row] not in items:
            raise FileNotFoundError(paths[row])
        return listed.read(items[paths[row]])

    return read


def recorded_source(attributes: Mapping[str, Any]) -> ImageSource:
    """The source that a cache was made of, listed anew as it was then.

    Args:
        attributes: Of `cache.h5`, with its source.

    Raises:
        UlfineError: It is gone, or needs a package that is not installed.
    """
    if missing := own_source_missing(attributes):
        raise UlfineError(missing)
    location = str(attributes["source"])
    source = Path(location) if SOURCE_ORIGIN in attributes else place(location)
    return open_source(source, SourceOptions.from_request(call_of(attributes) or {}))


def cached_pixel_range(cache: "FeatureCache") -> Range | None:
    """Return which values were black and white in a cache's pictures of more than eight bits, None for the rule."""
    return parse_pixel_range((call_of(cache.attributes) or {}).get("pixel_range", AUTO))
