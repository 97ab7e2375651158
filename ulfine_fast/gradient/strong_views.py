"""The strong view of an unlabelled row: one that stage one cached, or the feature with noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_fast.rows.training_data import TrainingData

Source = Literal["auto", "cached", "noise"]


def strong_views(
    data: TrainingData, source: Source, noise: float, generator: torch.Generator
) -> tuple[Callable[[Tensor], Tensor], dict[str, Any]]:
    """Decide where strong views come from.

    FixMatch (Sohn et al. 2020) distorts the picture anew at each step. A cache made with ``--views weak-strong:K``
    holds K distortions of each picture, of which each step draws one; with one view in the cache, Gaussian noise on the
    feature stands in. Cached views are read here, into memory (which holds them if it holds the weak ones), and only if
    they are used.

    Args:
        data: Whose unlabelled rows.
        source: ``"cached"``, ``"noise"``, or ``"auto"``: cached ones where there are some.
        noise: Expected length of the noise.
        generator: Source of the draws and of the noise, on the CPU.

    Returns:
        A function from row numbers, int64 (n,) on the CPU, to float32 (n, D) of unit length on the device of the rows;
        and what was decided, ``{"strong_views": "cached" or "noise", "cached_strong_views": K}``.

    Raises:
        UlfineError: Cached views were asked for and there are none.

    Example:
        >>> view, decided = strong_views(data, "auto", 0.25, torch.Generator().manual_seed(0))
        >>> view(torch.tensor([4, 2])).shape == (2, data.n_features), decided["strong_views"]
        (True, 'noise')
    """
    if source == "cached" and data.strong_views is None:
        raise UlfineError(
            "strong_views=cached, but the cache holds one view of each image: make it with "
            "`ulfine cache-features --views weak-strong:2`"
        )
    if source == "noise" or data.strong_views is None or not len(data.unlabelled):
        return (
            lambda rows: strong_view(data.unlabelled[rows.to(data.unlabelled.device)], noise, generator),
            {"strong_views": "noise", "cached_strong_views": 0},
        )
    cached = data.strong_views()
    count = cached.shape[1] if isinstance(cached, Tensor) else cached.count

    def draw(rows: Tensor) -> Tensor:
        views = torch.randint(count, (len(rows),), generator=generator)
        # Rows in memory are float16, up to 5e-4 off; those from the disk need it no more, and would lose last bits.
        return normalize(cached[rows.to(cached.device), views.to(cached.device)].float(), dim=-1)

    return draw, {"strong_views": "cached", "cached_strong_views": count}


def strong_view(rows: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """A strongly augmented view where the cache holds one view: the feature with Gaussian noise.

    Args:
        rows: float32 (N, D), unit length.
        noise: Expected length of the noise.
        generator: Its source, on the CPU.

    Returns:
        float32 (N, D), unit length.
    """
    drawn = torch.randn(rows.shape, generator=generator).to(rows.device)
    return normalize(rows + noise * rows.shape[1] ** -0.5 * drawn, dim=-1)
