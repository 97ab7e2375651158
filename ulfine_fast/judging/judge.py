"""Judges a fitted model on rows that no method can reach: test rows, and the truth of unlabelled ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ulfine_cache.splitting.row_groups import group_numbers
from ulfine_fast.judging.class_figures import accuracy_intervals, class_details, confusion_matrix, group_figures
from ulfine_fast.judging.five_crops import mean_logits, read_views
from ulfine_fast.judging.intervals import design_effect
from ulfine_fast.judging.metrics import evaluate_predictions
from ulfine_fast.judging.pseudo_label_quality import THRESHOLD, pseudo_label_quality
from ulfine_fast.models.model_under_test_prior import ModelUnderTestPrior

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.models.logit_model import LogitModel


BLOCK_ROWS = 65536


@dataclass(frozen=True)
class Judgement:
    """What a model is worth on a split.

    Attributes:
        metrics: As in `evaluate_predictions`, with the figures of `class_details` in ``per_class``; ``intervals`` of
            the accuracies, as in `accuracy_intervals`; where the cache knows groups ``per_group``, as in
            `group_figures`; and ``pseudo_labels`` as in `pseudo_label_quality` (None where
            the truth of no unlabelled row is known). Without test rows every figure is None.
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
    views: str = "center",
    test_shift: NDArray[np.float64] | None = None,
) -> Judgement:
    """Judge a model on the test rows of a split, and its pseudo-labels on the unlabelled rows whose truth is known.

    Args:
        model: On the CPU.
        cache: Of the model that the classifier was fitted on.
        split: Of that cache.
        labelled_counts: (C,) labelled images that the model was fitted on; they define the class groups.
        threshold: Confidence from which a pseudo-label counts as used; None takes `THRESHOLD`.
        views: What the model looks at in each image, as `ulfine_fast.judging.five_crops.choose_views` says.
        test_shift: float64 (C,), of `ulfine_fast.priors.class_prior.prior_shift`, added to the logits of test rows;
            pseudo-labels are those of the model as it was fitted.
    """
    names = cache.class_names
    probabilities = np.empty((len(split.test), len(names)), dtype=np.float32)
    tested = model if test_shift is None else ModelUnderTestPrior(model, test_shift)
    for place, block in _blocks(tested, cache, split.test, views):
        probabilities[place] = block
    truth = cache.labels[split.test]
    metrics = evaluate_predictions(probabilities, truth, labelled_counts, names)
    predicted = probabilities.argmax(axis=1) if len(truth) else truth
    confusion = confusion_matrix(predicted, truth, len(names))
    for entry, details in zip(metrics["per_class"], class_details(confusion, names), strict=True):
        entry.update(details)
    alike = 1.0
    if cache.groups is not None:
        groups = [cache.groups[row] for row in split.test.tolist()]
        metrics["per_group"] = group_figures(predicted == truth, groups)
        alike = design_effect(predicted == truth, group_numbers(groups))
    metrics["intervals"] = accuracy_intervals(confusion, metrics, labelled_counts, alike=alike)
    metrics["pseudo_labels"] = None
    unlabelled = split.unlabelled[cache.labels[split.unlabelled] >= 0]
    if len(unlabelled):
        predicted, confidence = np.empty(len(unlabelled), dtype=np.int64), np.empty(len(unlabelled), dtype=np.float32)
        for place, block in _blocks(model, cache, unlabelled, views):
            predicted[place], confidence[place] = block.argmax(axis=1), block.max(axis=1)
        metrics["pseudo_labels"] = pseudo_label_quality(
            predicted,
            confidence,
            cache.labels[unlabelled],
            labelled_counts,
            THRESHOLD if threshold is None else threshold,
        )
    return Judgement(metrics, probabilities)


def read_logits(
    model: LogitModel, cache: FeatureCache, rows: NDArray[np.int64], views: str = "center"
) -> NDArray[np.float32]:
    """The logits of rows of a cache, float32 (n, C), in their order; arguments as those of `judge`."""
    logits = np.empty((len(rows), len(cache.class_names)), dtype=np.float32)
    for place, block in _logit_blocks(model, cache, rows, views):
        logits[place] = block.numpy()
    return logits


def read_probabilities(
    model: LogitModel,
    cache: FeatureCache,
    rows: NDArray[np.int64],
    views: str = "center",
    n_classes: int | None = None,
) -> NDArray[np.float32]:
    """The probabilities of rows of a cache, float32 (n, C), in their order; arguments as those of `judge`.

    `n_classes` is C where the model has other classes than the cache.
    """
    probabilities = np.empty((len(rows), n_classes or len(cache.class_names)), dtype=np.float32)
    for place, block in _blocks(model, cache, rows, views):
        probabilities[place] = block
    return probabilities


def _blocks(
    model: LogitModel, cache: FeatureCache, rows: NDArray[np.int64], views: str
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Probabilities of rows, block after block."""
    for place, logits in _logit_blocks(model, cache, rows, views):
        yield place, torch.softmax(logits, dim=-1).numpy()


def _logit_blocks(
    model: LogitModel, cache: FeatureCache, rows: NDArray[np.int64], views: str
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Logits of rows, block after block, so that memory holds one block of features."""
    for start in range(0, len(rows), BLOCK_ROWS):
        place = slice(start, start + BLOCK_ROWS)
        read = map(torch.as_tensor, read_views(cache, rows[place], views))
        yield place, mean_logits(model, read)
