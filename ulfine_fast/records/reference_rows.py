"""A sample of the rows that a run was fitted on, which new rows are compared with later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.errors import UlfineError
from ulfine_fast.rows.sample_places import sample_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split

REFERENCE = "reference.safetensors"

MOST_ROWS = 1000


def write_reference(folder: Path, cache: FeatureCache, split: Split) -> None:
    """Write the features of labelled and unlabelled rows, at most `MOST_ROWS`, evenly spaced over all."""
    from safetensors.numpy import save

    rows = np.union1d(split.labelled, split.unlabelled)
    chosen = rows[sample_places(len(rows), MOST_ROWS)]
    (folder / REFERENCE).write_bytes(save({"features": cache.features(chosen).astype(np.float16)}))


def read_reference(folder: Path) -> NDArray[np.float32]:
    """Read the features, float32 (M, D), unit length.

    Raises:
        UlfineError: The run has none, as those of earlier versions, or they are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from ulfine_cache.sources.trees.regular_file import read_regular

    try:
        features = load(read_regular(str(folder / REFERENCE)))["features"].astype(np.float32)
        if features.ndim != 2 or len(features) < 2 or not np.isfinite(features).all():
            raise ValueError("no rows")
    except FileNotFoundError as error:
        raise UlfineError(f"{folder} holds no {REFERENCE}: fit it again, this version writes one") from error
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UlfineError(f"{folder / REFERENCE} is damaged: fit the run again") from error
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
