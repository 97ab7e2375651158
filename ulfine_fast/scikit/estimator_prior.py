"""The part of the estimator that moves its answers to another class prior."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from ulfine_cache.wording.counts import amount
from ulfine_fast.priors.class_prior import answered_prior, estimate_prior, prior_of_weights, prior_shift
from ulfine_fast.settings import prior_power


class PriorShiftMixin:
    """What `ULFineClassifier` inherits: a copy for another class distribution.

    Attributes:
        test_prior_: (C,) the class prior that a copy answers for; other estimators lack it.
    """

    test_prior_: NDArray[np.float64]
    _shift: NDArray[np.float64] | None = None

    if TYPE_CHECKING:
        classes_: NDArray[Any]
        _labelled_counts: NDArray[np.int64]
        _resolved: dict[str, Any]

        def _logits(self, X: ArrayLike) -> NDArray[np.float64]: ...

    def with_test_prior(self, prior: str | Mapping[Any, float] | ArrayLike, X: ArrayLike | None = None) -> Self:
        """A fitted copy whose answers are for another class distribution, see `ulfine_fast.priors.class_prior`.

        It is no parameter of the constructor, because it belongs to the place of use and not to the fit: clones and
        searches do not see it, fitting the copy ends it, and `save` refuses it.

        Args:
            prior: ``"uniform"``; ``"labelled"``, the frequencies of the labelled rows; ``"estimate"``, from `X`; or
                weights of the classes, by name or (C,) in the order of `classes_`. Weight 0: never predicted.
            X: float (N, D), the rows to estimate from, without labels.

        Raises:
            ValueError: `prior` is none of these, or there is no `X` to estimate from.

        Example:
            >>> from ulfine_fast.estimator import ULFineClassifier
            >>> X = np.array([[8, 3], [3, 8], [5, 6], [4, 5]])
            >>> classifier = ULFineClassifier(method="zero-shot").fit(X, ["cat", "dog", "-1", "-1"])
            >>> classifier.predict(X).tolist()
            ['cat', 'dog', 'dog', 'dog']
            >>> classifier.with_test_prior({"cat": 1, "dog": 0}).predict(X).tolist()
            ['cat', 'cat', 'cat', 'cat']
        """
        check_is_fitted(self)
        answered = answered_prior(self._labelled_counts, prior_power(self._resolved))
        under = copy.copy(self)
        under._forget_test_prior()
        if not isinstance(prior, str):
            wanted = _shares(prior, self.classes_)
        elif prior == "estimate":
            if X is None:
                raise ValueError('with_test_prior("estimate") needs X, the rows to estimate from.')
            wanted = estimate_prior(under._logits(X), answered)
        elif prior in ("uniform", "labelled"):
            wanted = answered_prior(self._labelled_counts, float(prior == "labelled"))
        else:
            raise ValueError(f"prior is {prior!r}, expected 'uniform', 'labelled', 'estimate' or weights.")
        under._shift, under.test_prior_ = prior_shift(wanted, answered), wanted
        return under

    def _forget_test_prior(self) -> None:
        self._shift = None
        self.__dict__.pop("test_prior_", None)


def _shares(prior: Mapping[Any, float] | ArrayLike, classes: NDArray[Any]) -> NDArray[np.float64]:
    """Weights in the order of the classes, float64 (C,), that sum to 1."""
    if isinstance(prior, Mapping):
        names = classes.tolist()
        if set(prior) != set(names):
            differing = sorted(map(str, set(prior) ^ set(names)))
            raise ValueError(f"prior must give every class of classes_ once: {differing[0]!r} is in one only.")
        prior = [prior[name] for name in names]
    weights = np.asarray(prior, dtype=np.float64)
    if weights.shape != classes.shape or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(f"prior must be {amount(len(classes), 'finite weight')} of at least 0, not all of them 0.")
    return prior_of_weights(weights)
