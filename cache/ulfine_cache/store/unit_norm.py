"""Rows of unit norm, in numpy. The one rule for all rooms of where rows become so.

Features point somewhere and have no other meaning, so rows are of unit norm wherever they rest: in a shard (rounded to
float16), in what `FeatureCache.features` gives, in what a method is trained on. Whoever takes rows from outside brings
them there: the encoder and the import for a cache, `ulfine_fast.rows.unit_length` for training, and
`ulfine_fast.models.logit_model.LogitModel` for every classifier, in Python and at the start of an exported graph.
In torch that is `torch.nn.functional.normalize`, in a graph `LpNormalization` or what torch's exporter makes of it.

Rows that come from a cache thus pass two of these doors more than they need. Each moves last bits only, which is why
they stay: without them, fits and exports would have other bits than they had.

What cannot be brought to unit norm in float32 is refused by one rule, `objection`, wherever rows are fitted or
classified: torch divides by 1e-12 where a norm is less, ONNX does not, and where squares overflow both give zeros. The
import, which works in float64 and brings the largest value to 1 first, takes rows of every length but zero.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ulfine_cache.wording.counts import amount

SHORTEST = 1e-10
LONGEST = 1e18
"""Norms between which rows are of one direction in float32, in torch as in ONNX; squares of longer ones overflow."""

Floats = TypeVar("Floats", bound=np.floating)


def unit_norm(rows: npt.NDArray[Floats]) -> npt.NDArray[Floats]:
    """Rows over their Euclidean norm.

    Args:
        rows: float (..., D), none of them all zeros. Squares must not overflow.

    Returns:
        float (..., D) of the same precision.

    Example:
        >>> unit_norm(np.array([[3.0, 4.0]]))
        array([[0.6, 0.8]])
    """
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def without_direction(rows: npt.NDArray[Floats]) -> npt.NDArray[np.bool_]:
    """Which rows cannot be brought to unit norm: NaN, infinite, or a norm outside `SHORTEST` to `LONGEST`.

    Args:
        rows: float (..., D).

    Returns:
        bool (...), True where a row is to be refused.

    Example:
        >>> without_direction(np.array([[3.0, 4.0], [0.0, 0.0], [np.nan, 1.0]])).tolist()
        [False, True, True]
    """
    # In double precision, where no square of a float32 overflows; einsum converts as it goes, without a copy.
    squares = np.einsum("...d,...d->...", rows, rows, dtype=np.float64)
    # NaN compares as False.
    return ~((squares >= SHORTEST**2) & (squares <= LONGEST**2))


def objection(rows: npt.NDArray[Floats], what: str, numbers: npt.NDArray[np.integer] | None = None) -> str:
    """Say why rows cannot be brought to unit norm, or ``""``.

    Args:
        rows: float (N, ..., D).
        what: What the rows are, for the error.
        numbers: int (N,), what the error calls the rows; None counts from 0.

    Example:
        >>> objection(np.zeros((1, 2)), "the features")
        'the features have a length outside 1e-10 to 1e+18 in 1 row, first in row 0 (length 0): compute them again'
    """
    refused = without_direction(rows)
    refused = refused.any(axis=tuple(range(1, refused.ndim)))
    if not refused.any():
        return ""
    place, count = int(np.argmax(refused)), int(refused.sum())
    where = f"in {amount(count, 'row')}, first in row {place if numbers is None else numbers[place]}"
    if not np.isfinite(rows[refused]).all():
        return f"{what} hold NaN or infinite values {where}: compute them again"
    lengths = np.linalg.norm(rows[place].astype(np.float64), axis=-1).ravel()
    length = lengths[without_direction(rows[place]).ravel()][0]
    return f"{what} have a length outside {SHORTEST:g} to {LONGEST:g} {where} (length {length:.2g}): compute them again"
