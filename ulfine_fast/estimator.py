"""The same methods for scikit-learn: `fit(X, y)` with -1 for unlabelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ulfine_cache.progress import Silent
from ulfine_fast.registry import get_method
from ulfine_fast.run import Run, load_run, new_run_directory, write_run
from ulfine_fast.settings import resolve_settings
from ulfine_fast.training import choose_device, train
from ulfine_fast.training_data import make_training_data


class ULFineClassifier(ClassifierMixin, BaseEstimator):
    """Long-tailed semi-supervised classifier on frozen features.

    Unlabelled rows have the label -1, as in `sklearn.semi_supervised`. Where labels are strings the same holds: -1 in
    an array of objects, or the string ``"-1"`` that numpy makes of it. It follows that -1 cannot be a class.

    Args:
        method: One of `ulfine_fast.registry.METHODS`.
        settings: Settings of the method, by name; None keeps its defaults.
        random_state: Seed. An int gives the same model each time, as ``ulfine fit --seed`` does; None draws one.
        device: Where to train, see `ulfine_fast.training.choose_device`. Prediction runs on the CPU.

    Attributes:
        classes_: (C,) the classes, sorted, without -1.
        n_features_in_: Feature width D.
        model_: torch module, features (N, D) to logits (N, C).
        history_: Figures of the fit, step by step.
        diagnostics_: What the method found out.

    Example:
        >>> X = np.eye(4)[[0, 1, 0, 1]] + 0.01
        >>> classifier = ULFineClassifier(method="zero-shot").fit(X, ["cat", "dog", "-1", "-1"])
        >>> list(classifier.predict(X[2:]))
        ['cat', 'dog']
    """

    n_features_in_: int

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
            X: float (N, D); rows are brought to unit length.
            y: (N,) labels, -1 where unlabelled.
            text_features: float (C, D), one text prototype per class in the order of the sorted classes, or None.

        Returns:
            Itself.

        Raises:
            ValueError: As scikit-learn's estimators do for unusable input.
            UlfineError: As `ulfine_fast.training_data.make_training_data`.
        """
        checked: Any = validate_data(self, X, y, dtype=np.float32)  # pyright: ignore[reportArgumentType]
        rows, targets = checked
        unlabelled = _is_unlabelled(targets)
        known = _plain_labels(targets[~unlabelled])
        if len(known):
            check_classification_targets(known)
        classes, labels = np.unique(known, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"Classifier can't train when only one class is present: y holds {len(classes)} labelled classes, "
                "at least 2 are needed."
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

    def save(self, path: Path, *, overwrite: bool = False) -> Run:
        """Write a run directory, which `ulfine export`, `ulfine predict` and `ulfine_fast.load_run` read.

        Args:
            path: The directory to make.
            overwrite: Replace the run that stands there.

        Returns:
            The run.
        """
        from ulfine_fast.fitting import stamp

        check_is_fitted(self)
        seed = self.random_state if isinstance(self.random_state, int) else None
        run = Run(
            path=Path(path),
            model=self.model_,
            method=self._resolved["method"],
            config={**self._resolved, "seed": seed, "split": None, "device": self.device},
            class_names=tuple(str(name) for name in self.classes_),
            labelled_counts=tuple(int(count) for count in self._labelled_counts),
            n_features=int(self.n_features_in_),
            metrics={},
            provenance={
                "cache": None,
                "split": None,
                "seed": seed,
                "device": self.device,
                "diagnostics": self.diagnostics_,
                "classes": {"values": self.classes_.tolist(), "dtype": self.classes_.dtype.str},
                **stamp(),
            },
        )
        with new_run_directory(run.path, overwrite=overwrite) as folder:
            write_run(folder, run)
        return run

    @classmethod
    def load(cls, path: Path) -> Self:
        """Open a run directory as a fitted estimator, whoever wrote it.

        Args:
            path: A run directory.

        Raises:
            UlfineError: As `ulfine_fast.run.load_run`.
        """
        run = load_run(path)
        classes = run.provenance.get("classes")
        estimator = cls(
            run.method,
            settings=run.config["settings"],
            random_state=run.config["seed"],
            device=run.config["device"],
        )
        estimator.classes_ = (
            np.array(run.class_names)
            if classes is None
            else np.array(classes["values"], dtype=None if classes["dtype"] == "|O" else classes["dtype"])
        )
        estimator.n_features_in_ = run.n_features
        estimator.model_ = run.model
        estimator.history_ = []
        estimator.diagnostics_ = run.provenance.get("diagnostics", {})
        estimator._labelled_counts = np.array(run.labelled_counts)
        estimator._resolved = {"method": run.method, "settings": run.config["settings"]}
        return estimator

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:
        import torch

        check_is_fitted(self)
        checked: Any = validate_data(self, X, dtype=np.float32, reset=False)  # pyright: ignore[reportArgumentType]
        rows = np.ascontiguousarray(checked)
        with torch.no_grad():
            return self.model_(torch.as_tensor(rows)).double().numpy()

    def _seed(self) -> int:
        if isinstance(self.random_state, int | np.integer):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))


def _is_unlabelled(y: NDArray[Any]) -> NDArray[np.bool_]:
    if y.dtype.kind in "OUS":
        return np.array([isinstance(label, str | int | np.integer) and str(label) == "-1" for label in y], dtype=bool)
    return y == -1


def _plain_labels(labels: NDArray[Any]) -> NDArray[Any]:
    # An array of objects that held strings and -1 holds only strings now, and sorts and stores as such.
    if labels.dtype.kind == "O" and all(isinstance(label, str) for label in labels):
        return labels.astype(str)
    return labels
