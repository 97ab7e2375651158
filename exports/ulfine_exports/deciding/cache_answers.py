"""What a run or an exported file answers for rows of a cache: from its features, or from its pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_exports.predicting.predictors import Predictor

BLOCK = 8192
PICTURES = 32
"""Rows that are answered for at a time."""


@dataclass(frozen=True)
class CacheAnswers:
    """Answers for rows of a cache.

    Attributes:
        places: int64 (n,), the places among the rows asked for, of those that could be read.
        probabilities: float32 (n, C), in the predictor's order of classes.
    """

    places: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def cache_answers(
    predictor: "Predictor",
    cache: "FeatureCache",
    rows: NDArray[np.int64],
    name: str,
    progress: Progress = Silent(),  # noqa: B008
) -> CacheAnswers:
    """Let a model answer for rows of a cache.

    Args:
        predictor: A run takes the features of the cache, and so does an exported file that takes features; others get
            the pictures, read again from where stage one found them.
        cache: An open cache.
        rows: int64 (N,).
        name: What the model is called in messages.
        progress: Told how far it is.

    Raises:
        UlfineError: The features are of another encoder, or the pictures are gone.
    """
    if not predictor.takes_features:
        return _of_pictures(predictor, cache, rows, name, progress)
    theirs = cache.attributes.get("weights_hash", "")
    if predictor.weights_hash and theirs and predictor.weights_hash != theirs:
        raise UlfineError(
            f"{cache.path} was made by another encoder ({cache.attributes.get('model')}) than the one that {name} was "
            "fitted on: cache the images with that one, or compare files that take images"
        )
    five = predictor.views == "five-crop" and cache.attributes.get("views") == "five-crop"
    found = [np.zeros((0, len(predictor.class_names)), np.float32)]
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        views = [cache.features(block, view) for view in range(cache.n_views if five else 1)]
        found.append(predictor.features(np.stack(views, axis=1) if five else views[0])[0])
        progress.update(f"asking {name}", min(start + BLOCK, len(rows)), len(rows))
    return CacheAnswers(np.arange(len(rows)), np.concatenate(found))


def _of_pictures(
    predictor: "Predictor", cache: "FeatureCache", rows: NDArray[np.int64], name: str, progress: Progress
) -> CacheAnswers:
    places: list[int] = []
    found = [np.zeros((0, len(predictor.class_names)), np.float32)]
    for read, pictures in _batches(predictor, cache, rows):
        places += read
        found.append(predictor.images(pictures)[0])
        progress.update(f"asking {name}", len(places), len(rows))
    if len(rows) and not places:
        raise UlfineError(f"{name} takes images, and those of {cache.path} are gone: bring them back")
    return CacheAnswers(np.array(places, np.int64), np.concatenate(found))


def _batches(
    predictor: "Predictor", cache: "FeatureCache", rows: NDArray[np.int64]
) -> Iterator[tuple[list[int], list[NDArray[np.uint8]]]]:
    from ulfine_cache.sources.cached_images import cached_images

    source, read = cached_images(cache), predictor.reader()
    places: list[int] = []
    pictures: list[NDArray[np.uint8]] = []
    for place, row in enumerate(rows.tolist()):
        try:
            pictures.append(read(source(row)))
            places.append(place)
        except (OSError, UlfineError):
            continue
        if len(places) == PICTURES:
            yield places, pictures
            places, pictures = [], []
    if places:
        yield places, pictures
