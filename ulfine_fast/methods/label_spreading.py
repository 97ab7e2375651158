"""`label-spreading`: labels spread over the neighbourhood graph of labelled and unlabelled rows.

Source: Zhou et al., Learning with Local and Global Consistency, NIPS 2003, as scikit-learn's `LabelSpreading` with the
`knn` kernel does it. The number of neighbours and the clamping factor alpha are chosen by cross-validation: rows left
out stay in the graph without their label. New rows get the mean of the label distributions of as many nearest rows of
the graph, normalised, which is scikit-learn's own `predict_proba` (after Delalleau et al., Efficient Non-Parametric
Function Induction in Semi-Supervised Learning, 2005). Text is not used, so a class without labelled rows is never
predicted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from ulfine_cache.config import StrictConfig
from ulfine_fast.method import FitResult, Method, labelled_prior
from ulfine_fast.models.neighbour_vote import FLOOR, NeighbourVote
from ulfine_fast.rows.cross_validation import choose_setting
from ulfine_fast.seeds import one_by_one

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData


class LabelSpreadingSettings(StrictConfig):
    """Settings of `label-spreading`.

    Attributes:
        neighbours: Numbers of neighbours to choose from, the row itself counted. The first, with the first alpha, is
            taken where no labelled row can be left out: scikit-learn's defaults.
        alphas: What share a row takes from its neighbours to choose from, in (0, 1). 0.99 is that of the paper.
        max_iter: Rounds of spreading at most; 30 is scikit-learn's default.
        folds: Folds of the cross-validation that chooses.
    """

    neighbours: tuple[int, ...] = Field(default=(7, 3, 20), min_length=1)
    alphas: tuple[float, ...] = Field(default=(0.2, 0.9, 0.99), min_length=1)
    max_iter: int = Field(default=30, ge=1)
    folds: int = Field(default=5, ge=2)


def fit(data: TrainingData, settings: LabelSpreadingSettings, seed: int, progress: Progress) -> FitResult:
    """Choose neighbours and alpha, then spread the labels of all labelled rows."""
    rows = torch.cat([data.features, data.all_unlabelled])
    labels = np.full(len(rows), -1)
    labels[: len(data.labels)] = data.labels.cpu().numpy()
    choices = list(product(settings.neighbours, settings.alphas))
    shares_under = _label_spreading(rows.cpu().numpy(), data.n_classes, settings)

    def fold_logits(keep: Tensor) -> Iterator[Tensor]:
        left_out = np.flatnonzero(~keep.cpu().numpy())
        fold_labels = labels.copy()
        fold_labels[left_out] = -1
        for neighbours, alpha in choices:
            shares = torch.as_tensor(shares_under(fold_labels, neighbours, alpha)[left_out])
            yield torch.log(shares + FLOOR).to(rows.device)

    choice = choose_setting(data, fold_logits, n_settings=len(choices), default=0, n_folds=settings.folds, seed=seed)
    neighbours, alpha = choices[choice.index]
    votes = torch.as_tensor(shares_under(labels, neighbours, alpha), dtype=rows.dtype, device=rows.device)
    progress.update("training", 1, 1)
    return FitResult(
        model=NeighbourVote.of(rows, votes, neighbours, vote_temperature=None),
        diagnostics={"neighbours": neighbours, "alpha": alpha, "left_out_macro_accuracy": choice.macro_accuracy},
    )


def _label_spreading(
    rows: NDArray[np.float32], n_classes: int, settings: LabelSpreadingSettings
) -> Callable[[NDArray[np.int64], int, float], NDArray[np.float64]]:
    """Search the neighbours once; the function returned spreads labels (n,) of which -1 are unknown, to (n, C)."""
    from scipy.sparse import csr_array
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neighbors import NearestNeighbors
    from sklearn.semi_supervised import LabelSpreading

    n_rows = len(rows)
    most = min(max(settings.neighbours), n_rows)
    nearest = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(rows).kneighbors(rows, return_distance=False)

    def graph(neighbours: int) -> Any:
        count = min(neighbours, n_rows)
        columns = nearest[:, :count].ravel()
        return csr_array((np.ones(columns.size), columns, np.arange(0, columns.size + 1, count)), (n_rows, n_rows))

    graphs = {neighbours: graph(neighbours) for neighbours in settings.neighbours}

    def shares_under(labels: NDArray[np.int64], neighbours: int, alpha: float) -> NDArray[np.float64]:
        kernel: Any = lambda *_: graphs[neighbours]  # noqa: E731 - scikit-learn takes functions, its annotations do not
        model = LabelSpreading(kernel=kernel, alpha=alpha, max_iter=settings.max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last round counts
            model.fit(rows, labels)
        shares = np.zeros((n_rows, n_classes))
        shares[:, model.classes_] = model.label_distributions_
        return shares

    return shares_under


METHOD = Method(
    name="label-spreading",
    settings=LabelSpreadingSettings,
    fit_seeds=one_by_one(fit),
    build=lambda architecture: NeighbourVote(**architecture),
    prior_power=labelled_prior,
    unlabelled=True,
)
