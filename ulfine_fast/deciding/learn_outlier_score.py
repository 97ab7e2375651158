"""The scale of the outlier score, learnt from labelled rows that were left out; see `OutlierScore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ulfine_fast.judging.accepted_rows import balanced_weights
from ulfine_fast.judging.five_crops import mean_logits, read_views
from ulfine_fast.models.outlier_score import OutlierScore
from ulfine_fast.records.outlier_file import outlier_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.method import FitResult
    from ulfine_fast.models.logit_model import LogitModel
    from ulfine_fast.rows.left_out import LeftOut
    from ulfine_fast.rows.training_data import TrainingData

KNOWN_SHARE = 0.95
"""Share of left-out labelled rows, each class counting the same, whose score is at most 1."""

_FEWEST = 10
"""Left-out rows: of fewer nobody can say what 95 % of them stay below."""

_SPREAD = 1e-6
"""A part of the score that varies less over left-out rows says nothing."""

_BLOCK_ROWS = 8192


def learn_outlier_score(data: TrainingData, left_out: LeftOut | None) -> tuple[OutlierScore, int] | None:
    """Put energies and distances of left-out labelled rows on one scale and add them.

    A row is left out of the mean of its own class, which takes no fit. Its energy is that of the fits that left it out;
    methods that leave none out have the distance alone. Each part is brought to 0 at its weighted median and 1 at its
    weighted 95th percentile, and so is the sum.

    Args:
        data: The rows of the fit.
        left_out: What the fit says of those that it left out.

    Returns:
        The score and the number of rows that its scale is from; None where these are too few, or all alike.

    Example:
        >>> score, rows = learn_outlier_score(data, result.left_out)
        >>> float((score(data.features, result.model(data.features)) > 1).float().mean()) < 0.2
        True
    """
    features, labels = data.features.cpu().float(), data.labels.cpu()
    counts = torch.bincount(labels, minlength=data.n_classes)
    sums = torch.zeros(data.n_classes, data.n_features).index_add_(0, labels, features)
    means = sums[counts > 0]
    rows = np.flatnonzero((counts[labels] > 1).numpy())
    parts = {1: _left_out_distances(features, labels, sums)[rows].double().numpy()}
    if left_out is not None:
        looked_at, energies = _left_out_energies(left_out)
        rows, places, mine = np.intersect1d(looked_at, rows, return_indices=True)
        parts = {0: energies[places], 1: parts[1][mine]}
    if len(rows) < _FEWEST:
        return None
    weights = balanced_weights(labels.numpy()[rows])
    scale, total = np.zeros(3), np.zeros(len(rows))
    for place, values in parts.items():
        middle, spread = _middle_and_spread(values, weights)
        if spread > _SPREAD:
            scale[place], scale[2] = 1 / spread, scale[2] - middle / spread
            total += (values - middle) / spread
    middle, spread = _middle_and_spread(total, weights)
    if spread <= _SPREAD:
        return None
    scale /= spread
    scale[2] -= middle / spread
    return OutlierScore(means, torch.as_tensor(scale)), len(rows)


def outlier_figures(
    result: FitResult, data: TrainingData, cache: FeatureCache, tested: NDArray[np.int64], views: str
) -> tuple[OutlierScore | None, dict[str, Any] | None]:
    """Learn the score of a fit, and hold it to test rows, whose classes are all known.

    Args:
        result: With its model on the CPU.
        data: The rows that it was fitted on.
        cache: Where these are from.
        tested: int64 (n,), rows of the cache; may be none.
        views: What the model looks at in each image.

    Returns:
        The score, and ``known_share`` (`KNOWN_SHARE`), ``rows`` (left-out rows that its scale is from), ``test`` (None
        without test rows, else their number ``rows``, and ``above`` of them that are above 1) and ``sha256`` of its
        file; None and None where no scale can be learnt.
    """
    learnt = learn_outlier_score(data, result.left_out)
    if learnt is None:
        return None, None
    score, rows = learnt
    test = None
    if len(tested):
        above = read_outlier_scores(score, result.model, cache, tested, views) > 1
        test = {"rows": len(tested), "above": int(above.sum())}
    return score, {"known_share": KNOWN_SHARE, "rows": rows, "test": test, "sha256": outlier_digest(score)}


def _left_out_distances(features: Tensor, labels: Tensor, sums: Tensor) -> Tensor:
    """One less the cosine to the nearest class mean, (N,), each row left out of the mean of its class."""
    similarities = features @ normalize(sums, dim=-1).T
    own = (features * normalize(sums[labels] - features, dim=-1)).sum(-1)
    similarities[torch.arange(len(labels)), labels] = own
    # A class without rows has no mean: its zeros would be nearer than what lies opposite to all others.
    empty = torch.bincount(labels, minlength=len(sums)) == 0
    return 1 - similarities.masked_fill(empty, -1.0).amax(-1)


def _left_out_energies(left_out: LeftOut) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labelled rows that were left out, rising, and the energy of their mean logits over looks."""
    rows, looks = torch.unique(left_out.rows.cpu(), return_inverse=True)
    sums = torch.zeros(len(rows), left_out.logits.shape[1], dtype=torch.float64)
    sums.index_add_(0, looks, left_out.logits.cpu().double())
    return rows.numpy(), -torch.logsumexp(sums / torch.bincount(looks)[:, None], dim=-1).numpy()


def _middle_and_spread(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """The weighted median, and how far above it the weighted `KNOWN_SHARE` quantile is."""
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order]) / weights.sum()
    middle, high = (values[order][np.searchsorted(shares, share - 1e-9)] for share in (0.5, KNOWN_SHARE))
    return float(middle), float(high - middle)


def read_outlier_scores(
    score: OutlierScore, model: LogitModel, cache: FeatureCache, rows: NDArray[np.int64], views: str
) -> NDArray[np.float32]:
    """Scores of rows of a cache, float32 (n,), in their order; block after block.

    Args:
        score: Of the run.
        model: Of the run, on the CPU.
        cache: Of the model that the classifier was fitted on.
        rows: int64 (n,).
        views: What the run looks at in each image.
    """
    found = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        place = slice(start, start + _BLOCK_ROWS)
        block = torch.stack([torch.as_tensor(view) for view in read_views(cache, rows[place], views)], 1)
        with torch.no_grad():
            found[place] = score(block, mean_logits(model, block.unbind(1))).numpy()
    return found
