"""Rows that look like another one, or like words, by the index of the cache."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_cache.encoders.encoder import ClipEncoder
    from ulfine_cache.feature_cache import FeatureCache

MOST = 100
"""Rows that are found; indices are tuned for few."""


class LookAlikes:
    """Searches a cache; the encoder is loaded when it is first needed.

    Args:
        cache: The cache.
    """

    def __init__(self, cache: FeatureCache) -> None:
        self._cache = cache
        self._encoder: ClipEncoder | None = None
        self._lock = threading.Lock()

    def of_row(self, row: int) -> npt.NDArray[np.int64]:
        """Rows that look like a row, the nearest first, itself among them."""
        return self._nearest(self._cache.features(np.array([row])))

    def of_words(self, words: str) -> npt.NDArray[np.int64]:
        """Rows that look like words.

        Raises:
            UlfineError: The cache has no text encoder, or it is not to be had.
        """
        with self._lock:
            encoder = self._loaded()
            if not encoder.has_text:
                raise UlfineError(f"{encoder.model_name} has no text encoder: search by a picture")
            features = encoder.encode_text([words])
        return self._nearest(features)

    def of_picture(self, content: bytes) -> npt.NDArray[np.int64]:
        """Rows that look like a picture from elsewhere.

        Args:
            content: The bytes of an image file.

        Raises:
            UlfineError: It is no picture, or the encoder is not to be had.
        """
        from ulfine_cache.pictures.joined_preprocess import read_preprocess
        from ulfine_cache.pictures.pixels import UndecodableImage, decode
        from ulfine_cache.sources.cached_images import cached_pixel_range

        with self._lock:
            encoder = self._loaded()
            try:
                picture = decode(content, pixel_range=cached_pixel_range(self._cache))
            except UndecodableImage as error:
                raise UlfineError(f"the picture cannot be read: {error}") from error
            pixels = read_preprocess(self._cache.attributes["preprocess"]).to_pixels(picture)
            features = encoder.encode_images(np.stack([pixels]))
        return self._nearest(features)

    def _loaded(self) -> ClipEncoder:
        if self._encoder is None:
            from ulfine_cache.joining.load import load_encoder

            self._encoder = load_encoder(self._cache.attributes, "cpu")
        return self._encoder

    def _nearest(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        from ulfine_cache.search.exact_search import exact_search
        from ulfine_cache.search.index import search
        from ulfine_cache.store.layout import INDEX_FILE

        wanted = min(MOST, self._cache.n_rows)
        if (self._cache.path / INDEX_FILE).is_file() and self._cache.attributes.get("index", "none") != "none":
            _, rows = search(self._cache, features, wanted)
        else:
            _, rows = exact_search(self._cache.shard_paths, features, wanted)
        return rows[0][rows[0] >= 0]
