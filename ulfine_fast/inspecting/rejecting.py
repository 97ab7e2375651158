"""Unlabelled rows that belong to no class are kept out of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ulfine_cache.wording.counts import amount, subject
from ulfine_fast.inspecting.outliers import find_outliers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


def kept_rows(data: TrainingData, unlabelled: NDArray[np.int64], seed: int, progress: Progress) -> NDArray[np.int64]:
    """The unlabelled rows that are no outliers.

    Args:
        data: The rows; at least one unlabelled.
        unlabelled: int64 (N,), the rows of the cache that `data.unlabelled` are.
        seed: Of the folds and fits, see `find_outliers`.
        progress: Told how many are left out.

    Returns:
        int64, in the order of `unlabelled`.
    """
    foreign = find_outliers(data, seed, progress).suspected()
    progress.note(
        f"{subject(int(foreign.sum()), 'image', 'belongs/belong')} to no class and "
        f"{'is' if foreign.sum() == 1 else 'are'} left out of {amount(len(unlabelled), 'unlabelled row')}"
    )
    return unlabelled[~foreign]
