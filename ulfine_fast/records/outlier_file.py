"""The outlier score of a run, as a file in its directory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_fast.models.outlier_score import OutlierScore

OUTLIER_SCORE = "outlier_score.safetensors"
"""Class means and scale, `OutlierScore`; the digest stands in ``metrics.json``, whose own is checked."""


def write_outlier_score(folder: Path, score: OutlierScore) -> None:
    """Write it."""
    (folder / OUTLIER_SCORE).write_bytes(_content(score))


def outlier_digest(score: OutlierScore) -> str:
    """The SHA-256 of the file that `write_outlier_score` writes."""
    return hashlib.sha256(_content(score)).hexdigest()


def _content(score: OutlierScore) -> bytes:
    from safetensors.torch import save

    return save({name: tensor.contiguous() for name, tensor in score.state_dict().items()})


def read_outlier_score(folder: Path, metrics: dict[str, Any], n_features: int) -> OutlierScore | None:
    """Read it.

    Args:
        folder: The run.
        metrics: Its figures, which say whether it has one.
        n_features: Width of its features, D.

    Returns:
        None where the run has none: it was fitted without ``--outlier-score``, or by an earlier version.

    Raises:
        UlfineError: The file is gone or damaged.
    """
    about = metrics.get("outlier_score")
    if not about:
        return None
    from safetensors import SafetensorError
    from safetensors.torch import load

    from ulfine_cache.sources.trees.regular_file import read_regular
    from ulfine_fast.models.outlier_score import OutlierScore

    file = folder / OUTLIER_SCORE
    try:
        content = read_regular(str(file))
        if hashlib.sha256(content).hexdigest() != about["sha256"]:
            raise ValueError("it has changed since it was written")
        tensors = load(content)
        score = OutlierScore(tensors["class_means"], tensors["scale"])
        if score.class_means.shape[1:] != (n_features,) or score.scale.shape != (3,):
            raise ValueError("its sizes are not those of the run")
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, SafetensorError) as error:
        raise UlfineError(f"{file} is missing or damaged: fit the run again") from error
    return score
