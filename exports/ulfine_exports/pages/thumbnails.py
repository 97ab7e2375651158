"""Small pictures of a cache's rows, inside the page itself."""

import base64
import io
from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.pictures.pixel_range import Range

PLACEHOLDER = (
    "data:image/svg+xml;base64,"
    + base64.b64encode(
        b"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 96 96' width='96' height='96'>"
        b"<rect width='96' height='96' fill='#8a8f96' fill-opacity='.25'/>"
        b"<path d='M30 30L66 66M66 30L30 66' stroke='#8a8f96' stroke-width='4'/></svg>"
    ).decode()
)
"""A crossed-out square: a picture that could not be read."""


class Thumbnails:
    """Thumbnails of rows as ``data:`` URIs, each made when it is first asked for.

    Args:
        cache: The cache whose pictures are shown; None gives no thumbnails.
        size: Longest side, pixels.
        budget: Bytes of all URIs together; rows asked for after that have none.

    Attributes:
        missing: Why there are no thumbnails at all, as a sentence without a full stop; "" where there are some.
        bytes: What was given so far.

    Example:
        >>> thumbnails = Thumbnails(cache)
        >>> thumbnails.of(0)[:15], thumbnails.missing
        ('data:image/webp', '')
    """

    def __init__(self, cache: "FeatureCache | None", *, size: int = 96, budget: int = 3_000_000) -> None:
        self.missing = "" if cache else "there is no cache to take them from"
        self.bytes = 0
        self._size, self._budget = size, budget
        self._made: dict[int, str] = {}
        self._read: Callable[[int], bytes] | None = None
        self._pixel_range = None
        if cache is not None:
            self._open(cache)

    def _open(self, cache: "FeatureCache") -> None:
        from ulfine_cache.sources.cached_images import cached_images, cached_pixel_range

        try:
            self._read = cached_images(cache)
            self._pixel_range = cached_pixel_range(cache)
        except (UlfineError, OSError) as error:
            self.missing = str(error)

    def of(self, row: int) -> str:
        """The thumbnail of a row as a URI: `PLACEHOLDER` where its picture cannot be read, "" where there is none."""
        row = int(row)
        if self._read is None:
            return ""
        if row not in self._made:
            if self.bytes >= self._budget:
                return ""
            self._made[row] = self._make(self._read, row)
            self.bytes += len(self._made[row])
        return self._made[row]

    def _make(self, read: "Callable[[int], bytes]", row: int) -> str:
        try:
            return thumbnail_of(read(row), self._size, self._pixel_range)
        except (UlfineError, OSError):
            return PLACEHOLDER


def thumbnail_of(data: bytes, size: int, pixel_range: "Range | None" = None) -> str:
    """A small copy of an image file as a ``data:`` URI; `PLACEHOLDER` where it cannot be read.

    Args:
        data: The bytes of the file.
        size: Longest side, pixels.
        pixel_range: As of `ulfine_cache.pictures.pixels.decode`.
    """
    from ulfine_cache.pictures.pixels import decode

    side = (size, size)
    try:
        picture = decode(data, draft=side, pixel_range=pixel_range)
    except UlfineError:
        return PLACEHOLDER
    picture.thumbnail(side)
    target = io.BytesIO()
    picture.save(target, "WEBP", quality=72, method=4)
    return "data:image/webp;base64," + base64.b64encode(target.getvalue()).decode()
