"""Which of the fused logits spoke for a class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def who_spoke(
    parts: Mapping[str, NDArray[np.float32]], logits: NDArray[np.float32], class_names: tuple[str, ...]
) -> dict[str, Any]:
    """Divide the lead of the winning class among the parts of the fusion.

    The logits of the parts add up to the fused ones, so their leads add up, too: how far the winner is ahead of the
    runner-up by each part alone. The part with the largest lead decided.

    Args:
        parts: float32 (C,) by name, such as text and probe.
        logits: float32 (C,), their sum.
        class_names: C names.

    Returns:
        ``decided_by``, a part's name; ``lead``, of the fused logits; ``parts``, each with ``name``, ``label`` (the
        class that this part alone would choose) and ``lead`` (negative: it was for the runner-up).

    Example:
        >>> text, probe = np.float32([1, 0]), np.float32([2, 5])
        >>> who_spoke({"text": text, "probe": probe}, text + probe, ("cat", "dog"))["decided_by"]
        'probe'
    """
    order = np.argsort(-logits, kind="stable")
    winner, second = int(order[0]), int(order[min(1, len(order) - 1)])
    described = [
        {
            "name": name,
            "label": class_names[int(values.argmax())],
            "lead": float(values[winner] - values[second]),
        }
        for name, values in parts.items()
    ]
    return {
        "decided_by": max(described, key=lambda part: part["lead"])["name"],
        "lead": float(logits[winner] - logits[second]),
        "parts": described,
    }
