"""Cross-validation of partly labelled rows for scikit-learn: scored on labelled rows, trained on all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils.validation import check_consistent_length

from ulfine_cache.wording.counts import amount
from ulfine_fast.scikit.partial_labels import read_labels


class LabelledKFold(BaseCrossValidator):
    """Stratified folds of the labelled rows; unlabelled rows are in every training set and in no test set.

    So any scorer of scikit-learn sees known labels only. A class's only labelled row is always in the training set, as
    a class that a fold had lost could neither be learnt nor matched with its text prototype.

    Args:
        n_splits: K, at least 2.
        random_state: Seed of the order within each class.

    Example:
        >>> X, y = np.eye(6), np.array(["a", "a", "b", "b", "-1", "-1"])
        >>> [(len(train), y[test].tolist()) for train, test in LabelledKFold(2).split(X, y)]
        [(4, ['a', 'b']), (4, ['a', 'b'])]
    """

    def __init__(self, n_splits: int = 5, *, random_state: int = 0) -> None:
        self.n_splits = n_splits
        self.random_state = random_state

    def get_n_splits(  # pyright: ignore[reportIncompatibleMethodOverride] - scikit-learn's own has no annotations
        self, X: Any = None, y: Any = None, groups: Any = None
    ) -> int:
        """Number of folds."""
        return self.n_splits

    def split(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the row numbers of each training and test set.

        Args:
            X: (N, D), of which only the length counts, or None.
            y: (N,) labels, -1 where unlabelled, as `ULFineClassifier.fit` takes them.
            groups: Not used.

        Raises:
            ValueError: `n_splits` is below 2, X and y differ in length, or so few rows can be left out that a fold
                would be empty.
        """
        import torch

        from ulfine_fast.rows.folds import stratified_folds

        if self.n_splits < 2:
            raise ValueError(f"n_splits is {self.n_splits}: at least 2 folds are needed.")
        found = read_labels(y)
        check_consistent_length(X, found.known)
        known = np.flatnonzero(found.known)
        _, classes, counts = np.unique(found.labels, return_inverse=True, return_counts=True)
        usable = counts[classes] > 1
        if usable.sum() < self.n_splits:
            raise ValueError(
                f"{amount(int(usable.sum()), 'labelled row')} can be left out, fewer than n_splits={self.n_splits}: a "
                "class needs two to spare one."
            )
        generator = torch.Generator().manual_seed(self.random_state)
        folds = stratified_folds(torch.as_tensor(classes[usable]), self.n_splits, generator).numpy()
        rows = np.arange(len(found.known))
        for fold in range(self.n_splits):
            test = np.sort(known[usable][folds == fold])
            yield np.setdiff1d(rows, test), test
