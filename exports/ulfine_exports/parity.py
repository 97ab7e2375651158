"""The gate: no file leaves unless onnxruntime and torch give the same probabilities on the same rows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_exports.providers import OpenSession, open_session

TOLERANCES = {"fp32": 1e-4}
"""Largest difference in probability that passes, by precision of the export."""

BATCHES = (1, 2, 7)
"""Batch sizes that are compared: exporters have fixed the batch to that of their example before now
(pytorch/pytorch#148886, #143107)."""

_LARGE_BATCH = 64


@dataclass(frozen=True)
class Parity:
    """What the comparison found.

    Attributes:
        tolerance: Largest difference in probability that passes.
        largest_difference: Largest absolute difference in probability that was seen.
        largest_logit_difference: The same of the logits; reported, not judged, because their scale is free.
        rows: Rows compared.
        batches: Batch sizes used, smallest first.
        source: Where the rows came from.
    """

    tolerance: float
    largest_difference: float
    largest_logit_difference: float
    rows: int
    batches: tuple[int, ...]
    source: str

    @property
    def rounded(self) -> float:
        """The largest difference, rounded up to two digits; what the file records."""
        return round_up(self.largest_difference)


def check_parity(
    model: bytes,
    reference: Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]],
    rows: NDArray[np.float32],
    *,
    tolerance: float,
    source: str,
) -> Parity:
    """Run a model with onnxruntime on the CPU and compare it with a reference, in batches of several sizes.

    Args:
        model: The serialised ONNX model, with outputs ``probabilities`` and ``logits``.
        reference: Gives probabilities and logits, float32 (n, C) each, for a batch of rows, with torch.
        rows: float32 (N, ...), N of at least 1.
        tolerance: Largest absolute difference in probability that passes.
        source: What the rows are, for the report and the error.

    Raises:
        UlfineError: onnxruntime cannot run the model, an output has another shape or is not finite, or the
            probabilities differ by more than the tolerance.
    """
    opened = open_session(model, "cpu")
    worst, worst_logits, sizes = 0.0, 0.0, set[int]()
    for batch in _batches(rows):
        expected = reference(batch)
        found = _run(opened, batch)
        sizes.add(len(batch))
        for output, want, have in zip(("probabilities", "logits"), expected, found, strict=True):
            if have.shape != want.shape:
                raise UlfineError(
                    f"parity failed, nothing was written: {output} have shape {have.shape} in onnxruntime and "
                    f"{want.shape} in torch for a batch of {len(batch)}: try another --opset"
                )
        # np.maximum keeps a NaN, where max() would drop it.
        worst = float(np.maximum(worst, _difference(expected[0], found[0])))
        worst_logits = float(np.maximum(worst_logits, _difference(expected[1], found[1])))
    # Not `worst > tolerance`: that would let NaN through.
    if not worst <= tolerance:
        raise UlfineError(
            f"parity failed, nothing was written: onnxruntime and torch differ by {worst:.2g} in probability on "
            f"{len(rows)} {source}, {tolerance:g} is allowed: try another --opset"
        )
    return Parity(tolerance, worst, worst_logits, len(rows), tuple(sorted(sizes)), source)


def round_up(value: float) -> float:
    """Round a positive number up to two significant digits, so that a stated largest difference still bounds it."""
    if value <= 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.1e}")


def _batches(rows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Every row once, in batches of `BATCHES` first and large ones after; then the sizes that no batch has had."""
    start, missing = 0, []
    for size in BATCHES:
        if start + size <= len(rows):
            yield rows[start : start + size]
            start += size
        else:
            missing.append(size)
    for first in range(start, len(rows), _LARGE_BATCH):
        yield rows[first : first + _LARGE_BATCH]
    for size in missing:
        # Fewer rows than the batch has: repeat them.
        yield rows[np.arange(size) % len(rows)]


def _run(opened: OpenSession, batch: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    try:
        return opened.run(batch)
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise UlfineError(
            f"parity failed, nothing was written: onnxruntime cannot run a batch of {len(batch)} "
            f"({str(error).splitlines()[0]}): try another --opset"
        ) from error


def _difference(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Largest absolute difference; NaN where either side is not finite."""
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return math.nan
    return float(np.abs(expected.astype(np.float64) - found.astype(np.float64)).max(initial=0.0))
