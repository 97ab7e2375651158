"""Several seeds of one method: one after another, or as many side by side as memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ulfine_cache.progress import Silent

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.method import FitResult
    from ulfine_fast.rows.training_data import TrainingData

VALUES_AT_ONCE = 2**25
"""Numbers in the largest tensor of seeds that are fitted side by side, 128 MB in single precision."""


def in_turns(
    fit: Callable[[Sequence[int], Progress], list[FitResult]],
    seeds: Sequence[int],
    progress: Progress,
    *,
    at_once: int = 1,
) -> list[FitResult]:
    """Fit as many seeds at once as may be, turn after turn.

    Args:
        fit: The results of the seeds of one turn.
        seeds: At least one.
        progress: Told about the steps where one turn is enough, else about the seeds that are done.
        at_once: Seeds of a turn.

    Returns:
        One result for each seed; fewer where Ctrl-C came in between, since half a fit says nothing about how much seeds
        differ. `FitResult.interrupted_at` of the first is then the number of the seed at which that was.
    """
    turns = [seeds[first : first + at_once] for first in range(0, len(seeds), at_once)]
    results: list[FitResult] = []
    for turn in turns:
        fitted = fit(turn, progress if len(turns) == 1 else Silent())
        if results and fitted[0].interrupted_at is not None:
            return [replace(results[0], interrupted_at=len(results) + 1), *results[1:]]
        results += fitted
        if len(turns) > 1:
            progress.update("training seeds", len(results), len(seeds))
        if fitted[0].interrupted_at is not None:
            break
    return results


def one_by_one(
    fit: Callable[[TrainingData, Any, int, Progress], FitResult],
) -> Callable[[TrainingData, Any, Sequence[int], Progress], list[FitResult]]:
    """`Method.fit_seeds` of a method that knows one seed at a time.

    Args:
        fit: ``fit(data, settings, seed, progress)``.
    """

    def fit_seeds(data: TrainingData, settings: Any, seeds: Sequence[int], progress: Progress) -> list[FitResult]:
        return in_turns(lambda turn, told: [_checked(fit(data, settings, turn[0], told))], seeds, progress)

    return fit_seeds


def _checked(result: object) -> FitResult:
    from ulfine_fast.method import FitResult

    if not isinstance(result, FitResult):
        raise TypeError(f"a fit gives a {type(result).__name__}, not a FitResult")
    return result
