"""The rows of its fit that an exported file shall remember, as that very file sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError
from ulfine_exports.drifting.reference import Reference, reference_of

if TYPE_CHECKING:
    from onnx import ModelProto

    from ulfine_exports.gate.run_rows import RunRows
    from ulfine_exports.metadata import InputKind

MOST_ROWS = 500
MOST_PICTURES = 300
"""Rows that are remembered, evenly spaced: an encoder runs on each of these pictures."""


def export_reference(model: ModelProto, rows: RunRows, input: InputKind) -> Reference | None:
    """Run a finished graph on rows that its run was fitted on.

    Fewer bits give other features, so those of the run would make every new picture look strange to an int8 file.

    Args:
        model: The graph as it will be written.
        rows: Of the run.
        input: What the graph takes.

    Returns:
        None where the cache or its images are gone, or the graph holds no single vector of an image.
    """
    from ulfine_exports.drifting.inner_features import feature_tensor, open_with_features
    from ulfine_exports.gate.judged_rows import JudgedRows
    from ulfine_fast.rows.sample_places import sample_places

    try:
        fitted = np.union1d(rows.split.labelled, rows.split.unlabelled)
        chosen = fitted[sample_places(len(fitted), MOST_ROWS if input == "features" else MOST_PICTURES)]
        if len(chosen) < 2:
            return None
        tensor = "" if input == "features" else feature_tensor(model)
        if tensor is None:
            return None
        session = open_with_features(model, tensor)
        features: list[NDArray[Any]] = []
        answers: list[NDArray[Any]] = []
        for batch, _ in JudgedRows(input, rows, chosen, chosen, "").batches():
            found = session(batch)
            features.append(found[0])
            answers.append(found[1].argmax(axis=1))
    except (UlfineError, OSError):
        return None
    every = np.concatenate(features)
    if len(every) < 2 or not np.isfinite(every).all():
        return None
    return reference_of(every, np.concatenate(answers), tensor)
