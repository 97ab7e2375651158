"""The same methods for scikit-learn: `fit(X, y)` with -1 for unlabelled. `docs/python.md` shows them at work."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from ulfine_cache.progress import Silent
from ulfine_cache.store.unit_norm import objection
from ulfine_cache.wording.counts import amount
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import make_training_data
from ulfine_fast.scikit.estimator_prior import PriorShiftMixin
from ulfine_fast.scikit.estimator_run import RunMixin
from ulfine_fast.scikit.partial_labels import is_unlabelled, plain_labels, with_missing_marked
from ulfine_fast.settings import resolve_settings
from ulfine_fast.training import choose_device, train


class ULFineClassifier(PriorShiftMixin, RunMixin, ClassifierMixin, BaseEstimator):
    """Long-tailed semi-supervised classifier on frozen features.

    Unlabelled rows have the label -1, as in `sklearn.semi_supervised`. Where labels are strings the same holds: -1 in
    an array of objects, or the string ``"-1"`` that numpy makes of it. It follows that -1 cannot be a class. A missing
    label (None, NaN, NA) is unlabelled too, except among floats, see `ulfine_fast.scikit.partial_labels`.

    Copies through pickle, joblib and skops hold arrays and plain values, no torch object.

    Args:
        method: One of `ulfine_fast.registry.METHODS`.
        settings: Settings of the method, by name; None keeps its defaults.
        random_state: Seed. An int gives the same model each time, as ``ulfine fit --seed`` does; None draws one.
        device: Where to train, see `ulfine_fast.training.choose_device`. Prediction runs on the CPU.

    Attributes:
        classes_: (C,) the classes, sorted, without -1.
        n_features_in_: Feature width D.
        feature_names_in_: (D,) names of the columns, where X was a data frame with such names.
        model_: torch module, features (N, D) to logits (N, C).
        history_: Figures of the fit, step by step.
        diagnostics_: What the method found out.
        test_prior_: (C,) of copies by `with_test_prior` alone: the class prior that they answer for.

    Example:
        >>> X = np.eye(4)[[0, 1, 0, 1]] + 0.01
        >>> classifier = ULFineClassifier(method="zero-shot").fit(X, ["cat", "dog", "-1", "-1"])
        >>> classifier.predict(X[2:]).tolist()
        ['cat', 'dog']
    """

    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def __init__(
        self,
        method: str = "ulfine",
        *,
        settings: dict[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
    ) -> None:
        self.method = method
        self.settings = settings
        self.random_state = random_state
        self.device = device

    def fit(self, X: ArrayLike, y: ArrayLike, text_features: ArrayLike | None = None) -> Self:
        """Fit on labelled and unlabelled rows.

        Args:
            X: float (N, D), an array or a data frame of pandas or polars; rows are brought to unit length, of which
                they need one: zeros are refused.
            y: (N,) labels, -1 or missing where unlabelled.
            text_features: float (C, D), one text prototype per class in the order of the sorted classes, or None.

        Returns:
            Itself.

        Raises:
            ValueError: As scikit-learn's estimators do for unusable input.
            UlfineError: As `ulfine_fast.rows.training_data.make_training_data`.
        """
        marked = with_missing_marked(y)
        checked: Any = validate_data(self, X, marked, dtype=np.float32)  # pyright: ignore[reportArgumentType]
        rows, targets = checked
        unlabelled = is_unlabelled(targets)
        known = plain_labels(targets[~unlabelled])
        if len(known):
            check_classification_targets(known)
        classes, labels = np.unique(known, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                "Classifier can't train when only one class is present: y holds "
                f"{amount(len(classes), 'labelled class')}, at least 2 are needed."
            )
        text = None if text_features is None else np.asarray(text_features, dtype=np.float32)
        if text is not None and text.shape != (len(classes), rows.shape[1]):
            raise ValueError(f"text_features has shape {text.shape}, expected {(len(classes), rows.shape[1])}.")
        method = get_method(self.method)
        settings = resolve_settings(method, values=self.settings)
        data = make_training_data(
            features=rows[~unlabelled],
            labels=labels,
            unlabelled=rows[unlabelled],
            text=text,
            class_names=tuple(str(name) for name in classes),
            device=choose_device(self.device),
            where="X",
        )
        result = train(method, settings, data, self._seed(), Silent())
        self._forget_test_prior()
        self.classes_ = classes
        self.model_ = result.model
        self.history_ = result.history
        self.diagnostics_ = result.diagnostics
        self._labelled_counts = data.labelled_counts.cpu().numpy()
        self._resolved = {"method": method.name, "settings": settings.model_dump(mode="json")}
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Logits.

        Args:
            X: float (N, D).

        Returns:
            float64 (N, C); with two classes (N,), positive for the second.
        """
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Class probabilities.

        Args:
            X: float (N, D).

        Returns:
            float64 (N, C), rows sum to 1, columns in the order of `classes_`.
        """
        logits = self._logits(X)
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each row.

        Args:
            X: float (N, D).

        Returns:
            (N,) of the type of `classes_`.
        """
        logits = self._logits(X)
        return self.classes_[logits.argmax(axis=1)]

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy on the labelled rows; the others are left out.

        Args:
            X: float (N, D).
            y: (N,) labels, -1 or missing where unknown.
            sample_weight: (N,) weights, or None.

        Raises:
            ValueError: No row is labelled.
        """
        targets = column_or_1d(with_missing_marked(y))
        known = ~is_unlabelled(targets)
        if not known.any():
            raise ValueError("y holds no labelled row to score on.")
        weights = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(accuracy_score(plain_labels(targets[known]), self.predict(X)[known], sample_weight=weights))

    def __getstate__(self) -> dict[str, Any]:
        # pickle, joblib and skops come here. A torch module would make every reader trust all of torch.
        inherited: Any = super().__getstate__()
        state: dict[str, Any] = dict(inherited)
        if "model_" in state:
            model = state.pop("model_")
            tensors = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
            state["_stored"] = {"architecture": model.architecture(), "tensors": tensors}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        import torch

        state = dict(state)
        stored = state.pop("_stored", None)
        super().__setstate__(state)
        if stored is not None:
            model = get_method(self._resolved["method"]).build(stored["architecture"])
            model.load_state_dict({name: torch.as_tensor(values) for name, values in stored["tensors"].items()})
            self.model_ = model.eval().requires_grad_(False)

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:
        import torch

        check_is_fitted(self)
        checked: Any = validate_data(self, X, dtype=np.float32, reset=False)  # pyright: ignore[reportArgumentType]
        rows = np.ascontiguousarray(checked)
        if reason := objection(rows, "the rows of X"):
            raise ValueError(reason)
        # In double precision, for in single the rounding of a product, and so an answer, depends on the number of rows.
        model = copy.deepcopy(self.model_).double()
        with torch.no_grad():
            logits = model(torch.as_tensor(rows).double()).numpy()
        return logits if self._shift is None else logits + self._shift

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))
