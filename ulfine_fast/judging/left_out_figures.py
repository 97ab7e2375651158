"""Judges a fit by the labelled rows that it left out: what stands in for a test set, or beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ulfine_fast.judging.cross_validated import UnlabelledAnswers, cross_validated_figures
from ulfine_fast.rows.sample_places import sample_places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_fast.method import FitResult
    from ulfine_fast.rows.training_data import TrainingData

UNLABELLED_ROWS = 4000
"""Unlabelled rows whose confidence is looked at, spread evenly over all there are."""


def left_out_figures(
    result: FitResult, data: TrainingData
) -> tuple[dict[str, Any] | None, NDArray[np.int64], NDArray[np.float32]]:
    """Judge a fit by the labelled rows that it left out.

    Args:
        result: With its model on the CPU.
        data: The rows that it was fitted on.

    Returns:
        The figures of `ulfine_fast.judging.cross_validated.cross_validated_figures`, None where no row can be judged;
        int64 (R,), the labelled rows that were left out; float32 (R, C), their probabilities, the mean over looks.
    """
    if result.left_out is None:
        return None, np.empty(0, dtype=np.int64), np.empty((0, data.n_classes), dtype=np.float32)
    rows, probabilities = result.left_out.averaged()
    figures = cross_validated_figures(
        probabilities,
        data.labels.cpu().numpy()[rows],
        data.labelled_counts.cpu().numpy(),
        data.class_names,
        _answers(result, data),
        known=result.left_out.known_share(data.labels.cpu()),
        groups=None if data.groups is None else data.groups.numpy()[rows],
    )
    return figures, rows, probabilities


def _answers(result: FitResult, data: TrainingData) -> UnlabelledAnswers | None:
    prior = result.diagnostics.get("unlabelled_prior")
    if prior is None or not len(data.unlabelled):
        return None
    sample = torch.as_tensor(sample_places(len(data.unlabelled), UNLABELLED_ROWS))
    with torch.no_grad():
        logits = result.model(data.unlabelled[sample].cpu())
    confidence = torch.softmax(logits, dim=-1).amax(1).numpy()
    return UnlabelledAnswers(confidence, len(data.unlabelled), np.array([prior[name] for name in data.class_names]))
