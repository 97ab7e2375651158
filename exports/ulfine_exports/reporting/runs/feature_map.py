"""A map of the features: images that the encoder finds alike lie near one another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ulfine_exports.reporting.runs.map_choice import PCA

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split

MOST_POINTS = 600
SIDE = 600
"""Units of the drawing."""

_MARGIN = 12
_FEWEST_FOR_TSNE = 20
"""Of fewer points there is no neighbourhood to be kept."""


@dataclass(frozen=True)
class FeatureMap:
    """Places of rows.

    Attributes:
        rows: int64 (N,), of the cache.
        parts: (N,) of "labelled", "unlabelled" and "judged".
        places: float64 (N, 2), 0 to `SIDE`.
        method: ``"pca"`` or ``"tsne"``.
    """

    rows: NDArray[np.int64]
    parts: list[str]
    places: NDArray[np.float64]
    method: str


def feature_map(cache: FeatureCache, split: Split, method: str) -> FeatureMap:
    """Lay at most `MOST_POINTS` rows out in the plane: as many labelled, unlabelled and test rows as there are.

    Args:
        cache: The cache.
        split: Whose rows are shown.
        method: ``"pca"`` or ``"tsne"``.
    """
    rows, parts = _sample(split)
    features = cache.features(rows)
    method = method if len(rows) >= _FEWEST_FOR_TSNE else PCA
    flat = _principal(features) if method == PCA else _neighbourly(features)
    low, high = flat.min(axis=0, initial=0), flat.max(axis=0, initial=0)
    # Both directions on one scale: distances mean the same in each.
    scale = (SIDE - 2 * _MARGIN) / max(float((high - low).max()), 1e-9)
    places = (flat - (low + high) / 2) * scale + SIDE / 2
    return FeatureMap(rows, parts, places, method)


def _sample(split: Split) -> tuple[NDArray[np.int64], list[str]]:
    from ulfine_fast.rows.sample_places import sample_places

    kinds = {"judged": split.test, "unlabelled": split.unlabelled, "labelled": split.labelled}
    left, rows, parts = MOST_POINTS, [], []
    # The smallest part first: what it does not need the others have.
    for number, (name, found) in enumerate(sorted(kinds.items(), key=lambda item: len(item[1]))):
        count = min(len(found), left // (len(kinds) - number))
        chosen = found[sample_places(len(found), count)] if count else found[:0]
        left -= len(chosen)
        rows.append(chosen)
        parts += [name] * len(chosen)
    return np.concatenate(rows), parts


def _principal(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """The first two principal components, float64 (N, 2); each points to where its largest part is positive."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.vstack([axes, np.zeros((2, axes.shape[1]))])[:2]
    largest = axes[np.arange(2), np.abs(axes).argmax(axis=1)]
    return centred @ (axes * np.where(largest < 0, -1, 1)[:, None]).T


def _neighbourly(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """The t-SNE of openTSNE, the same for the same features, float64 (N, 2)."""
    from openTSNE import TSNE as Embedding

    perplexity = min(30, (len(features) - 1) // 4)
    embedding = Embedding(
        perplexity=perplexity, n_jobs=1, random_state=0, initialization="pca", negative_gradient_method="bh"
    )
    return np.asarray(embedding.fit(features), np.float64)
