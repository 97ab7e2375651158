"""What an exported file remembers of the rows of its fit: a small, blurred copy of their features. No torch.

Features are turned into `WIDTH` sums of theirs with random signs and kept in 8 bits. The signs come from a fixed seed,
never from the rows: what is fitted to the former rows (principal components) would find every new row strange.
Distances between rows survive (Johnson and Lindenstrauss; Achlioptas, Database-friendly random projections, JCSS 66,
2003), so that the tests find what they find in whole features (`docs/benchmarks.md`).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError

WIDTH = 256
"""Numbers that are kept of a row."""

_STEPS = 127
_ROOM = 1.25
"""New rows may be so much larger than the former ones before they are clipped."""


@dataclass(frozen=True)
class Reference:
    """A sample of former rows.

    Attributes:
        rows: float32 (M, W), as `projected` gives them.
        answers: int64 (M,), what the file takes them for.
        step: How much a step of the 8 bits is.
        tensor: Name of the tensor inside the graph that holds the features; "" where features go in.
    """

    rows: NDArray[np.float32]
    answers: NDArray[np.int64]
    step: float
    tensor: str

    def to_text(self) -> str:
        """JSON for the metadata of a file."""
        whole = np.rint(self.rows / self.step).astype(np.int8)
        return json.dumps(
            {
                "tensor": self.tensor,
                "step": self.step,
                "shape": list(whole.shape),
                "rows": base64.b64encode(whole.tobytes()).decode(),
                "answers": self.answers.tolist(),
            }
        )

    def like(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Project and round new rows as the former ones, (N, W)."""
        return _rounded(projected(features), self.step)


def reference_of(features: NDArray[np.floating], answers: NDArray[np.integer], tensor: str = "") -> Reference:
    """Make a reference of rows.

    Args:
        features: float (M, D), of any length.
        answers: int (M,).
        tensor: As in `Reference`.

    Example:
        >>> rows = np.eye(4)
        >>> reference_of(rows, np.zeros(4, int)).rows.shape
        (4, 4)
    """
    rows = projected(features)
    step = _ROOM * float(np.abs(rows).max()) / _STEPS
    return Reference(_rounded(rows, step), answers.astype(np.int64), step, tensor)


def read_reference_text(text: str | None, name: str) -> Reference:
    """Read what `Reference.to_text` wrote.

    Args:
        text: From the metadata of a file; None where it has none.
        name: Of the file, for the error messages.

    Raises:
        UlfineError: There is none, or it is damaged.
    """
    if text is None:
        raise UlfineError(
            f"{name} does not remember what its run was fitted on: it is from an earlier version, or the images of the "
            "run could not be read when it was exported; name the run, or export it again"
        )
    try:
        found = json.loads(text)
        whole = np.frombuffer(base64.b64decode(found["rows"], validate=True), np.int8).reshape(found["shape"])
        answers, step, tensor = np.asarray(found["answers"], np.int64), float(found["step"]), found["tensor"]
        if whole.ndim != 2 or answers.shape != (len(whole),) or len(whole) < 2 or not 0 < step < 1:
            raise ValueError("its rows do not fit")
        if (answers < 0).any() or not isinstance(tensor, str):
            raise ValueError("its answers do not fit")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UlfineError(f"{name} carries a damaged reference ({error}): export it again") from error
    return Reference(whole.astype(np.float32) * np.float32(step), answers, step, tensor)


def projected(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of unit length in at most `WIDTH` numbers: features of fewer are as they are."""
    rows = np.asarray(features, np.float32)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    if rows.shape[1] <= WIDTH:
        return rows
    # The bits of PCG64 are the same in every version of numpy; those of a Generator's methods need not be.
    words = np.random.PCG64(0).random_raw(rows.shape[1] * WIDTH // 64)
    signs = np.unpackbits(words.astype("<u8").view(np.uint8)).reshape(rows.shape[1], WIDTH)
    return rows @ ((2.0 * signs - 1.0) / np.sqrt(WIDTH)).astype(np.float32)


def _rounded(rows: NDArray[np.float32], step: float) -> NDArray[np.float32]:
    return (np.clip(np.rint(rows / step), -_STEPS, _STEPS) * step).astype(np.float32)
