"""The part of the estimator that writes itself as a run directory, and reads any run directory as an estimator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ulfine_cache.errors import UlfineError
from ulfine_fast.records.history import write_history_csv
from ulfine_fast.records.provenance import stamp
from ulfine_fast.run import HISTORY, Run, load_run, new_run_directory, write_run

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_fast.models.logit_model import LogitModel


class RunMixin:
    """What `ULFineClassifier` inherits: `save` and `load`."""

    if TYPE_CHECKING:
        random_state: int | np.random.RandomState | None
        device: str
        classes_: NDArray[Any]
        n_features_in_: int
        feature_names_in_: NDArray[np.object_]
        model_: LogitModel
        history_: list[dict[str, float]]
        diagnostics_: dict[str, Any]
        _labelled_counts: NDArray[np.int64]
        _resolved: dict[str, Any]
        _shift: NDArray[np.float64] | None

        def __init__(
            self,
            method: str,
            *,
            settings: dict[str, Any] | None,
            random_state: int | np.random.RandomState | None,
            device: str,
        ) -> None: ...

    def save(self, path: Path | str, *, overwrite: bool = False) -> Run:
        """Write a run directory, which `ulfine export`, `ulfine predict` and `ulfine_fast.load_run` read.

        It is what `ulfine fit` writes, less what only a cache knows: figures on test rows and predictions.

        Args:
            path: The directory to make.
            overwrite: Replace the run that stands there.

        Returns:
            The run.

        Raises:
            UlfineError: This is a copy by `with_test_prior`, or as `ulfine_fast.run.new_run_directory`.
        """
        check_is_fitted(self)
        if self._shift is not None:
            raise UlfineError("a run keeps the model as fitted: save the original, and give --test-prior at its use")
        seed = self.random_state if isinstance(self.random_state, int) else None
        columns = getattr(self, "feature_names_in_", None)
        run = Run(
            path=Path(path),
            model=self.model_,
            method=self._resolved["method"],
            config={**self._resolved, "seed": seed, "split": None, "device": self.device, "views": "center"},
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
                "columns": None if columns is None else columns.tolist(),
                **stamp(),
            },
        )
        with new_run_directory(run.path, overwrite=overwrite) as folder:
            write_run(folder, run)
            write_history_csv(folder / HISTORY, self.history_)
        return run

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Open a run directory as a fitted estimator, whoever wrote it. Of `ulfine fit`'s runs the classes are names.

        Args:
            path: A run directory.

        Raises:
            UlfineError: As `ulfine_fast.run.load_run`.
        """
        run = load_run(Path(path))
        config, classes, columns = run.config, run.provenance.get("classes"), run.provenance.get("columns")
        estimator = cls(run.method, settings=config["settings"], random_state=config["seed"], device=config["device"])
        estimator.classes_ = (
            np.array(run.class_names)
            if classes is None
            else np.array(classes["values"], dtype=None if classes["dtype"] == "|O" else classes["dtype"])
        )
        estimator.n_features_in_ = run.n_features
        if columns is not None:
            estimator.feature_names_in_ = np.array(columns, dtype=object)
        estimator.model_ = run.model
        estimator.history_ = []
        estimator.diagnostics_ = run.provenance.get("diagnostics", {})
        estimator._labelled_counts = np.array(run.labelled_counts)
        estimator._resolved = {"method": run.method, "settings": config["settings"]}
        return estimator
