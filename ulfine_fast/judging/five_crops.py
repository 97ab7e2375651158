"""LIFT's test-time ensembling: an image is judged by the mean of the logits of its five crops.

It helps nearly whatever is trained (`docs/method.md`), so every method takes the five crops where a cache holds them,
unless it is told otherwise; methods side by side then look at the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.models.logit_model import LogitModel

Views = Literal["auto", "center", "five-crop"]
"""What to look at in an image: its first view, or all five crops. ``"auto"``: when fitting, five crops where they are
there; later, what the run looks at."""

FIVE_CROPS = "five-crop"


def choose_views(views: str, preferred: str, cache: FeatureCache) -> str:
    """Decide what to look at in the images of a cache.

    Args:
        views: One of `Views`.
        preferred: What ``"auto"`` stands for, where the cache has it; ``"center"`` otherwise.
        cache: An open cache.

    Returns:
        ``"center"``, the first view, or ``"five-crop"``.

    Raises:
        UlfineError: Five crops were asked for and the cache holds other views.

    Example:
        >>> choose_views("auto", "five-crop", cache)
        'five-crop'
    """
    there = cache.attributes.get("views") == FIVE_CROPS
    if views == FIVE_CROPS and not there:
        raise UlfineError(
            f"{cache.path} holds no five crops of its images: make a cache with "
            "`ulfine cache-features --views five-crop`, or take --views center"
        )
    chosen = preferred if views == "auto" else views
    return FIVE_CROPS if chosen == FIVE_CROPS and there else "center"


def read_views(cache: FeatureCache, rows: NDArray[np.int64], views: str) -> Iterator[NDArray[np.float32]]:
    """Read the views of some rows one after the other, float32 (n, D) each, so that memory holds one."""
    for view in range(cache.n_views if views == FIVE_CROPS else 1):
        yield cache.features(rows, view)


def mean_logits(model: LogitModel, views: Iterable[Tensor]) -> Tensor:
    """The mean over views of the logits: `z_k = (1 / V) sum_v f_k(x_v)`; of one view, its logits.

    Source: Shi et al., Long-tail learning with foundation model: heavy fine-tuning hurts, ICML 2024 (test-time
    ensembling), with the five crops of an image that is resized to 248 (`ulfine_cache.pictures.views`).

    Args:
        model: A classifier.
        views: float32 (N, D) each, at least one.

    Returns:
        float32 (N, C), without gradients.

    Example:
        >>> mean_logits(run.model, torch.rand(10, 5, cache.n_features).unbind(1)).shape
        torch.Size([10, 2])
    """
    import torch

    total, count = None, 0
    with torch.no_grad():
        for features in views:
            logits = model(features)
            total, count = logits if total is None else total + logits, count + 1
    if total is None:
        raise ValueError("no view to classify")
    return total / count
