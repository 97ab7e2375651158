"""Pictures of a cache's rows as the page shows them: small, decoded by the project's own rules, kept for a while."""

from __future__ import annotations

import base64
import io
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError
from ulfine_exports.pages.thumbnails import PLACEHOLDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from ulfine_cache.feature_cache import FeatureCache

SIZES = {"small": 224, "large": 1000}
"""Longest sides in pixels."""

_SVG = base64.b64decode(PLACEHOLDER.partition(",")[2])
_KEPT = 128 * 2**20
"""Bytes of encoded pictures."""


class Pictures:
    """Encoded pictures of rows; a placeholder where one cannot be read.

    Args:
        cache: Whose images are shown.

    Attributes:
        missing: Why there are no pictures at all, "" where there are some.
    """

    def __init__(self, cache: FeatureCache) -> None:
        from ulfine_cache.sources.cached_images import cached_images, cached_pixel_range

        self.missing = ""
        self._read: Callable[[int], bytes] | None = None
        self._pixel_range = None
        self._made: OrderedDict[tuple[int, str], tuple[bytes, str]] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()
        try:
            self._read, self._pixel_range = cached_images(cache), cached_pixel_range(cache)
        except (UlfineError, OSError) as error:
            self.missing = str(error)

    def of(self, row: int, size: str) -> tuple[bytes, str]:
        """The bytes of a picture and their media type.

        Args:
            row: A row of the cache.
            size: "small" or "large".
        """
        key = (row, size)
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = self._make(row, SIZES[size])
        with self._lock:
            if key not in self._made:
                self._made[key] = made
                self._bytes += len(made[0])
            while self._bytes > _KEPT:
                _, (content, _) = self._made.popitem(last=False)
                self._bytes -= len(content)
        return made

    def _make(self, row: int, side: int) -> tuple[bytes, str]:
        from ulfine_cache.pictures.pixels import decode

        if self._read is None:
            return _SVG, "image/svg+xml"
        try:
            picture = decode(self._read(row), draft=(side, side), pixel_range=self._pixel_range)
        except (UlfineError, OSError):
            return _SVG, "image/svg+xml"
        picture.thumbnail((side, side))
        target = io.BytesIO()
        picture.save(target, "WEBP", quality=80, method=2)
        return target.getvalue(), "image/webp"
