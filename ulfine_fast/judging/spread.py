"""Mean and standard deviation of a figure over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Summarise a figure over seeds.

    Args:
        values: One for each seed; None where it is not defined.

    Returns:
        ``{"mean", "std", "per_seed"}``; std with n - 1, None for fewer than two known values, as is the mean of none.

    Example:
        >>> spread([0.5, 0.75, None])
        {'mean': 0.625, 'std': 0.1767766952966369, 'per_seed': [0.5, 0.75, None]}
    """
    known = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(known)) if known else None,
        "std": float(np.std(known, ddof=1)) if len(known) > 1 else None,
        "per_seed": list(values),
    }


def spread_with_test_error(name: str, metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarise a figure over seeds that were judged on the same test rows.

    Seeds that agree say nothing of how the same model would do on other test rows, which is often the larger doubt.

    Args:
        name: One of `ulfine_fast.judging.metrics.SCALARS`.
        metrics: Of each seed, as in `ulfine_fast.judging.judge.Judgement`.

    Returns:
        As `spread`, and for accuracies ``error``: the square root of the variance over seeds and the squared standard
        error that the number of test rows leaves.
    """
    found = spread([of[name] for of in metrics])
    interval = metrics[0]["intervals"].get(name)
    if interval is not None:
        found["error"] = float(np.hypot(found["std"] or 0.0, interval["error"]))
    return found
