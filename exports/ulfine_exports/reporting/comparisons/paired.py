"""Differences of methods on the same draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ulfine_exports.reporting.comparisons.comparison import Spread


@dataclass(frozen=True)
class Paired:
    """A difference over the draws.

    Attributes:
        mean: Its mean; None where no draw has both values.
        stderr: Its standard error; None for fewer than two draws.
        each: One for each draw; None where a value is missing.
    """

    mean: float | None
    stderr: float | None
    each: list[float | None]


def paired(method: Spread, first: Spread) -> Paired:
    """Subtract one method's values from another's, draw by draw.

    Args:
        method: Values by draw.
        first: What is subtracted.

    Example:
        >>> from ulfine_exports.reporting.comparisons.comparison import Spread
        >>> found = paired(Spread(per_seed=[0.9, 0.8]), Spread(per_seed=[0.8, 0.8]))
        >>> round(found.mean, 3), round(found.stderr, 3)
        (0.05, 0.05)
    """
    pairs = zip(method.per_seed, first.per_seed, strict=True)
    each = [None if one is None or other is None else one - other for one, other in pairs]
    known = [value for value in each if value is not None]
    stderr = float(np.std(known, ddof=1) / np.sqrt(len(known))) if len(known) > 1 else None
    return Paired(float(np.mean(known)) if known else None, stderr, each)


def standard_error(spread: Spread) -> float | None:
    """The standard error of a mean over draws; None for fewer than two."""
    known = [value for value in spread.per_seed if value is not None]
    return float(np.std(known, ddof=1) / np.sqrt(len(known))) if len(known) > 1 else None
