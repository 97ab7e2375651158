"""What a graph may be fed with, and which of its answers may be given on.

One rule for the server, for `predict` and for `OnnxClassifier`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.store.unit_norm import objection
from ulfine_exports.metadata import InputKind

LARGEST_PIXEL = 1000.0
"""What no normalised pixel comes near, nor one of 0 to 255 that somebody forgot to normalise."""


def input_objection(kind: InputKind, rows: NDArray[Any]) -> str:
    """Say why rows are not to be run, or ``""``.

    Features need a direction, see `ulfine_cache.store.unit_norm`. Pixels need to be finite and in reach of pixels:
    where an encoder's squares overflow, it answers the same for everything.

    Args:
        kind: What the graph takes.
        rows: (n, ...) of the graph's input.

    Example:
        >>> input_objection("pixels", np.full((1, 3, 8, 8), 3e38))
        'the pixels hold values beyond 1000: normalise them as the file asks'
    """
    if kind == "image" or not rows.size:
        return ""
    if kind == "features":
        return objection(rows, "the features")
    lowest, highest = rows.min(), rows.max()
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        return "the pixels hold NaN or infinite values: compute them again"
    if max(-lowest, highest) > LARGEST_PIXEL:
        return f"the pixels hold values beyond {LARGEST_PIXEL:g}: normalise them as the file asks"
    return ""


def answer_objection(outputs: Mapping[str, NDArray[np.floating]]) -> str:
    """Say why answers are not to be given on, or ``""``.

    Args:
        outputs: (n, C), or (n,), by name.

    Example:
        >>> answer_objection({"logits": np.array([[0.0, np.nan]])})
        'the model gives no finite logits for row 0 of these'
    """
    for name, values in outputs.items():
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if not finite.all():
            return f"the model gives no finite {name} for row {int(np.argmin(finite))} of these"
    return ""
