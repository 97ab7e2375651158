"""Judges a fitted model on rows that no method can reach: test rows, and the truth of unlabelled ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ulfine_fast.metrics import evaluate_predictions
from ulfine_fast.pseudo_label_quality import THRESHOLD, pseudo_label_quality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.logit_model import LogitModel


@dataclass(frozen=True)
class Judgement:
    """What a model is worth on a split.

    Attributes:
        metrics: As in `evaluate_predictions`, and ``pseudo_labels`` as in `pseudo_label_quality` (None where the truth
            of no unlabelled row is known). Without test rows every figure is None.
        probabilities: float32 (n_test, C), in the order of ``split.test``.
    """

    metrics: dict[str, Any]
    probabilities: NDArray[np.float32]


def judge(
    model: LogitModel,
    cache: FeatureCache,
    split: Split,
    labelled_counts: NDArray[np.integer],
    threshold: float | None = None,
) -> Judgement:
    """Judge a model on the test rows of a split, and its pseudo-labels on the unlabelled rows whose truth is known.

    Args:
        model: On the CPU.
        cache: Of the model that the classifier was fitted on.
        split: Of that cache.
        labelled_counts: (C,) labelled images that the model was fitted on; they define the class groups.
        threshold: Confidence from which a pseudo-label counts as used; None takes `THRESHOLD`.
    """
    names = cache.class_names
    labels = np.asarray(cache.labels)
    probabilities = _probabilities(model, cache, split.test, len(names))
    known = labels[split.test] >= 0
    metrics = evaluate_predictions(probabilities[known], labels[split.test][known], labelled_counts, names)
    truth = labels[split.unlabelled]
    unlabelled = split.unlabelled[truth >= 0]
    metrics["pseudo_labels"] = None
    if len(unlabelled):
        metrics["pseudo_labels"] = pseudo_label_quality(
            _probabilities(model, cache, unlabelled, len(names)),
            labels[unlabelled],
            labelled_counts,
            THRESHOLD if threshold is None else threshold,
        )
    return Judgement(metrics, probabilities)


def _probabilities(
    model: LogitModel, cache: FeatureCache, rows: NDArray[np.int64], n_classes: int
) -> NDArray[np.float32]:
    if not len(rows):
        return np.empty((0, n_classes), dtype=np.float32)
    return model.probabilities(torch.as_tensor(np.ascontiguousarray(cache.features(rows), dtype=np.float32))).numpy()
