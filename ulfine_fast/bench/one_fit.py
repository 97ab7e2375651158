"""One fit of a comparison: a contender on a draw, judged on its test rows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ulfine_cache.progress import Silent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.bench.contender import Contender


@dataclass(frozen=True)
class Fit:
    """What is known of one fit.

    Attributes:
        metrics: Of `ulfine_fast.judging.judge.judge`, with ``seconds`` of training, the choice from a grid included.
        settings: Those that it was fitted with, JSON-able.
        grid: What was tried, as `ulfine_fast.bench.grid_choice.choose_from_grid` says; None without a grid.
        logits: float32 (n_test, C), in the order of the draw's test rows; None where nobody asked.
    """

    metrics: dict[str, Any]
    settings: dict[str, Any]
    grid: dict[str, Any] | None = None
    logits: NDArray[np.float32] | None = None


def fit_and_judge(
    cache: FeatureCache, draw: Split, contender: Contender, seed: int, device: str, *, logits: bool = False
) -> Fit:
    """Fit a contender on a draw and judge it.

    Args:
        cache: An open cache.
        draw: A split of it.
        contender: What is fitted.
        seed: Of everything random in the fit.
        device: As `ulfine_fast.training.choose_device` takes it.
        logits: Whether the logits of the test rows are wanted.
    """
    from ulfine_fast.bench.grid_choice import choose_from_grid
    from ulfine_fast.judging.five_crops import FIVE_CROPS, choose_views
    from ulfine_fast.judging.judge import judge, read_logits
    from ulfine_fast.rows.memory_bound import memory_bound
    from ulfine_fast.rows.training_data import load_training_data
    from ulfine_fast.streaming_choice import must_stream
    from ulfine_fast.training import choose_device, train

    used_device = choose_device(device)
    streams = must_stream(cache, draw, used_device, memory_bound("auto"))
    data = load_training_data(cache, draw, used_device, streams=streams)
    start = time.perf_counter()
    settings, grid = choose_from_grid(contender, data, seed)
    # The bar shows the comparison; the steps inside each fit would only flicker.
    result = train(contender.method, settings, data, seed, Silent())
    seconds = time.perf_counter() - start
    views = choose_views("auto", FIVE_CROPS, cache)
    metrics = judge(result.model, cache, draw, data.labelled_counts.cpu().numpy(), views=views).metrics
    return Fit(
        metrics={**metrics, "seconds": seconds},
        settings=settings.model_dump(mode="json"),
        grid=grid,
        logits=read_logits(result.model, cache, draw.test, views) if logits else None,
    )
