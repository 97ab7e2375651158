"""The same methods for scikit-learn, unlabelled rows as -1 in y or beside y. `docs/python.md` shows them at work."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data

from ulfine_cache.progress import Silent
from ulfine_cache.store.unit_norm import objection
from ulfine_fast.judging.left_out_figures import left_out_figures
from ulfine_fast.registry import get_method
from ulfine_fast.rows.training_data import make_training_data
from ulfine_fast.scikit.class_text import all_classes, checked_text
from ulfine_fast.scikit.estimator_params import SettingsMixin
from ulfine_fast.scikit.estimator_prior import PriorShiftMixin
from ulfine_fast.scikit.estimator_run import RunMixin
from ulfine_fast.scikit.partial_labels import read_labels
from ulfine_fast.scikit.refusals import as_value_errors
from ulfine_fast.scikit.unlabelled_rows import checked_unlabelled, refuse_a_class_of_unlabelled_rows
from ulfine_fast.settings import resolve_settings
from ulfine_fast.training import choose_device, train


class ULFineClassifier(PriorShiftMixin, RunMixin, SettingsMixin, ClassifierMixin, BaseEstimator):
    """Long-tailed semi-supervised classifier on frozen features.

    Unlabelled rows are given in y, as -1, or beside it. In y they work as in `sklearn.semi_supervised`; where labels
    are strings -1 may be the string ``"-1"`` that numpy makes of it, and it follows that -1 cannot be a class. A
    missing label (None, NaN, NA) is unlabelled too, see `ulfine_fast.scikit.partial_labels`. Meta-estimators that make
    classes of all that y holds (voting, stacking, bagging, calibration, one against the rest, `cross_val_predict`) need
    them beside y, as `unlabelled` or as `fit(X, y, X_unlabelled=U)`; as far as can be known, `fit` refuses what they
    made of a -1.

    Copies through pickle, joblib and skops hold arrays and plain values, no torch object.

    Args:
        method: One of `ulfine_fast.registry.METHODS`.
        settings: Settings of the method, by name; None keeps its defaults. ``settings__NAME`` is one of them for
            `set_params` and searches.
        unlabelled: float (M, D), rows without labels besides those of X, as they are after the steps of a pipeline.
        text_only_classes: Classes that may have no labelled row, but the text that `fit` is given; True stands for the
            whole numbers from 0 on, one for each row of it. `text_features` are then in the sorted order of these and
            the classes of y.
        random_state: Seed. An int gives the same model each time, as ``ulfine fit --seed`` does; None draws one.
        device: Where to train, see `ulfine_fast.training.choose_device`. Prediction runs on the CPU.

    Attributes:
        classes_: (C,) the classes, sorted, without -1.
        n_features_in_: Feature width D.
        feature_names_in_: (D,) names of the columns, where X was a data frame with such names.
        model_: torch module, features (N, D) to logits (N, C).
        history_: Figures of the fit, step by step.
        diagnostics_: What the method found out.
        cross_validated_: Figures of the labelled rows that the fit left out, as
            `ulfine_fast.judging.cross_validated.cross_validated_figures` gives them; None where the method leaves none
            out.
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
        settings: Mapping[str, Any] | None = None,
        unlabelled: ArrayLike | None = None,
        text_only_classes: bool | ArrayLike = False,
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
    ) -> None:
        self.method = method
        self.settings = settings
        self.unlabelled = unlabelled
        self.text_only_classes = text_only_classes
        self.random_state = random_state
        self.device = device

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        text_features: ArrayLike | None = None,
        X_unlabelled: ArrayLike | None = None,
    ) -> Self:
        """Fit on labelled and unlabelled rows.

        Args:
            X: float (N, D), an array or a data frame of pandas or polars; rows are brought to unit length, of which
                they need one: zeros are refused.
            y: (N,) labels, -1 or missing where unlabelled; a data frame of one column is taken as well.
            text_features: float (C, D), one text prototype per class in the order of the sorted classes, or None.
            X_unlabelled: float (M, D), rows without labels, besides the parameter `unlabelled` and those of y.

        Returns:
            Itself.

        Raises:
            ValueError: Input, text or a parameter cannot be used, or a meta-estimator has made a class of -1.
        """
        refuse_a_class_of_unlabelled_rows()
        with as_value_errors():
            return self._fit(X, y, text_features, X_unlabelled)

    def _fit(self, X: Any, y: Any, text_features: Any, X_unlabelled: Any) -> Self:
        method = get_method(str(self.method))
        settings = resolve_settings(method, values=self.settings)
        device, seed = choose_device(str(self.device)), self._seed()
        checked: Any = validate_data(self, X, dtype=np.float32)
        found = read_labels(y)
        check_consistent_length(checked, found.known)
        if reason := objection(checked, "the rows of X"):
            raise ValueError(reason)
        columns = getattr(self, "feature_names_in_", None)
        more = [("unlabelled", self.unlabelled), ("X_unlabelled", X_unlabelled)]
        unlabelled = [checked[~found.known]]
        unlabelled += [
            checked_unlabelled(rows, name, checked.shape[1], columns) for name, rows in more if rows is not None
        ]
        classes = all_classes(found.labels, self.text_only_classes, text_features)
        data = make_training_data(
            features=checked[found.known],
            labels=np.searchsorted(classes, found.labels),
            unlabelled=np.concatenate(unlabelled),
            text=None if text_features is None else checked_text(text_features, classes, checked.shape[1]),
            class_names=tuple(str(name) for name in classes),
            device=device,
            where="X",
        )
        result = train(method, settings, data, seed, Silent())
        self._forget_test_prior()
        self.classes_ = classes
        self.model_ = result.model
        self.history_ = result.history
        self.diagnostics_ = result.diagnostics
        self.cross_validated_ = left_out_figures(result, data)[0]
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
        found = read_labels(y)
        check_consistent_length(X, found.known)
        if not found.known.any():
            raise ValueError("y holds no labelled row to score on.")
        weights = None if sample_weight is None else np.asarray(sample_weight)[found.known]
        return float(accuracy_score(found.labels, self.predict(X)[found.known], sample_weight=weights))

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
        seed = self.random_state
        if not isinstance(seed, int | np.integer):
            return int(check_random_state(seed).randint(2**31))
        if not 0 <= seed < 2**32:
            raise ValueError(f"random_state is {seed}: give a whole number from 0 to {2**32 - 1}, or None.")
        return int(seed)
