"""The cache that a run was fitted on, opened once, and a sample of its rows with their images."""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.places import may_be_there, place
from ulfine_fast.rows.sample_places import sample_places

if TYPE_CHECKING:
    from PIL.Image import Image

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.run import Run


class RunRows:
    """The rows of a run's cache, for everything in one export that asks for some.

    The cache is opened when it is first needed, because it may be gone and not all exports need it.

    Args:
        run: A loaded run.

    Attributes:
        run: The same.
    """

    def __init__(self, run: "Run") -> None:
        self.run = run

    @cached_property
    def cache(self) -> "FeatureCache":
        """The cache that the run was fitted on.

        Raises:
            UlfineError: There is none, it is gone, or another one is in its place.
        """
        from ulfine_fast.evaluate import open_cache_of

        if self.run.cache is None:
            raise UlfineError(f"the run {self.run.path} was not fitted on a cache")
        if not may_be_there(place(self.run.cache["path"])):
            raise UlfineError(f"the cache {self.run.cache['path']} is gone")
        return open_cache_of(self.run)

    @cached_property
    def split(self) -> "Split":
        """The run's split; the sets that the cache came with where it was deleted or drawn from other features.

        Raises:
            UlfineError: The cache cannot be had.
        """
        cache = self.cache
        try:
            return cache.read_split(self.run.config.get("split"))
        except UlfineError:
            return cache.read_split(None)

    def labelled(self, limit: int) -> NDArray[np.int64]:
        """At most `limit` labelled rows of the split, or of the whole cache where it has none; evenly spaced."""
        rows = self.split.labelled
        return _sample(rows if len(rows) else np.flatnonzero(self.cache.labels >= 0), limit)

    def sample(self, limit: int) -> tuple[NDArray[np.int64], str]:
        """At most `limit` rows that nothing was fitted on, evenly spaced, or the next best.

        Returns:
            int64 (n,) rows, and what they are: ``"test rows"``; ``"labelled rows"`` where the split has no test rows;
            ``"rows of the cache"`` where nothing is labelled.

        Raises:
            UlfineError: The cache cannot be had.
        """
        if len(self.split.test):
            return _sample(self.split.test, limit), "test rows"
        labelled = self.labelled(limit)
        if len(labelled):
            return labelled, "labelled rows"
        return sample_places(self.cache.n_rows, limit), "rows of the cache"

    def pictures(self, rows: NDArray[np.int64]) -> "Iterator[tuple[int, Image]]":
        """Read the images of some rows again from where stage one found them, one by one.

        Args:
            rows: int64 (n,), n of at least 1.

        Yields:
            A row and its picture; what cannot be read any more is left out.

        Raises:
            UlfineError: None of them can be read.
        """
        from ulfine_cache.pictures.pixels import decode
        from ulfine_cache.sources.cached_images import cached_pixel_range

        read, pixel_range, found = self._images, cached_pixel_range(self.cache), False
        for row in rows.tolist():
            try:
                picture = decode(read(row), pixel_range=pixel_range)
            except (OSError, UlfineError):
                continue
            found = True
            yield row, picture
        if not found:
            raise UlfineError(
                f"the images of the cache {self.cache.path}, such as {self.cache.paths[rows[0]]}, are gone"
            )

    @cached_property
    def _images(self) -> "Callable[[int], bytes]":
        """Gives the bytes of a row's image; a table or shards are listed once for that."""
        from ulfine_cache.sources.cached_images import cached_images

        try:
            return cached_images(self.cache)
        except UlfineError as error:
            raise UlfineError(f"the images of the cache {self.cache.path} are gone ({error})") from error


def _sample(rows: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    return rows[sample_places(len(rows), limit)]
