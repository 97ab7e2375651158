"""The gate: no file leaves unless onnxruntime and torch give the same probabilities on the same rows."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_exports.inference.providers import OpenSession, open_session

TOLERANCES = {"fp32": 1e-4}
"""Largest difference in probability that passes, by precision of the export."""

BATCHES = (1, 2, 7)
"""Batch sizes that are compared: exporters have fixed the batch to that of their example before now
(pytorch/pytorch#148886, #143107)."""

_LARGE_BATCH = 64

Outputs = tuple[NDArray[np.float32], ...]
"""Probabilities, logits, and the logits of the parts where a graph gives them; (n, C) each."""


@dataclass(frozen=True)
class Parity:
    """What the comparison found.

    Attributes:
        tolerance: Largest difference in probability that passes.
        largest_difference: Largest absolute difference in probability that was seen.
        largest_logit_difference: The same of the logits; reported, not bounded, because their scale is free.
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
    reference: Callable[[NDArray[np.float32]], Outputs],
    rows: NDArray[np.float32],
    *,
    tolerance: float,
    source: str,
) -> Parity:
    """Run a model with onnxruntime on the CPU and compare it with a reference, in batches of several sizes.

    Args:
        model: The serialised ONNX model, with outputs ``probabilities``, ``logits`` and perhaps more logits.
        reference: Gives the same outputs, float32 (n, C) each, for a batch of rows, with torch.
        rows: float32 (N, ...), N of at least 1.
        tolerance: Largest absolute difference in probability that passes.
        source: What the rows are, for the report and the error.

    Raises:
        UlfineError: As `compare`.
    """
    pairs = ((batch, reference(batch)) for batch in batches_of(rows))
    return compare(model, pairs, rows=len(rows), tolerance=tolerance, source=source)


def compare(
    model: bytes, pairs: Iterable[tuple[NDArray[Any], Outputs]], *, rows: int, tolerance: float, source: str
) -> Parity:
    """Run a model with onnxruntime on the CPU and compare it with what it should give.

    Args:
        model: The serialised ONNX model.
        pairs: Batches of its input, and the outputs expected of each.
        rows: Number of different rows in all batches, for the report.
        tolerance: Largest absolute difference in probability that passes.
        source: What the rows are, for the report and the error.

    Raises:
        UlfineError: onnxruntime cannot run the model, an output has another shape or is not finite, or the
            probabilities differ by more than the tolerance.
    """
    opened = open_session(model, "cpu")
    names = [output.name for output in opened.session.get_outputs()]
    worst, worst_logits, sizes = 0.0, 0.0, set[int]()
    for batch, expected in pairs:
        found = _run(opened, batch)
        sizes.add(len(batch))
        for output, want, have in zip(names, expected, found, strict=True):
            if have.shape != want.shape:
                raise UlfineError(
                    f"parity failed, nothing was written: {output} have shape {have.shape} in onnxruntime and "
                    f"{want.shape} in torch for a batch of {len(batch)}: try another --opset"
                )
        # np.maximum keeps a NaN, where max() would drop it.
        worst = float(np.maximum(worst, largest_difference(expected[0], found[0])))
        for want, have in zip(expected[1:], found[1:], strict=True):
            worst_logits = float(np.maximum(worst_logits, largest_difference(want, have)))
    # Not `worst > tolerance`: that would let NaN through.
    if not worst <= tolerance:
        raise UlfineError(
            f"parity failed, nothing was written: onnxruntime and torch differ by {worst:.2g} in probability on "
            f"{rows} {source}, {tolerance:g} is allowed: try another --opset"
        )
    return Parity(tolerance, worst, worst_logits, rows, tuple(sorted(sizes)), source)


def round_up(value: float) -> float:
    """Round a positive number up to two significant digits, so that a stated largest difference still bounds it."""
    if value <= 0 or not math.isfinite(value):
        return value
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.1e}")


def batches_of(rows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
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


def largest_difference(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Largest absolute difference; NaN where either side is not finite."""
    if not (np.isfinite(expected).all() and np.isfinite(found).all()):
        return math.nan
    return float(np.abs(expected.astype(np.float64) - found.astype(np.float64)).max(initial=0.0))


def _run(opened: OpenSession, batch: NDArray[Any]) -> Outputs:
    try:
        return cast(Outputs, tuple(opened.session.run(None, {opened.session.get_inputs()[0].name: batch})))
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise UlfineError(
            f"parity failed, nothing was written: onnxruntime cannot run a batch of {len(batch)} "
            f"({str(error).splitlines()[0]}): try another --opset"
        ) from error
