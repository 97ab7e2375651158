"""A fitted estimator as a run directory, and any run directory as a fitted estimator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ulfine_fast.fitting import stamp
from ulfine_fast.records.history import write_history_csv
from ulfine_fast.run import HISTORY, Run, load_run, new_run_directory, write_run

if TYPE_CHECKING:
    from ulfine_fast.estimator import ULFineClassifier

    _Estimator = TypeVar("_Estimator", bound=ULFineClassifier)


def save_estimator(estimator: ULFineClassifier, path: Path, *, overwrite: bool) -> Run:
    """Write what `ulfine fit` writes, less what only a cache knows: figures on test rows and predictions.

    Args:
        estimator: A fitted one.
        path: The directory to make.
        overwrite: Replace the run that stands there.

    Raises:
        UlfineError: As `ulfine_fast.run.new_run_directory`.
    """
    seed = estimator.random_state if isinstance(estimator.random_state, int) else None
    columns = getattr(estimator, "feature_names_in_", None)
    run = Run(
        path=path,
        model=estimator.model_,
        method=estimator._resolved["method"],
        config={**estimator._resolved, "seed": seed, "split": None, "device": estimator.device, "views": "center"},
        class_names=tuple(str(name) for name in estimator.classes_),
        labelled_counts=tuple(int(count) for count in estimator._labelled_counts),
        n_features=int(estimator.n_features_in_),
        metrics={},
        provenance={
            "cache": None,
            "split": None,
            "seed": seed,
            "device": estimator.device,
            "diagnostics": estimator.diagnostics_,
            "classes": {"values": estimator.classes_.tolist(), "dtype": estimator.classes_.dtype.str},
            "columns": None if columns is None else columns.tolist(),
            **stamp(),
        },
    )
    with new_run_directory(path, overwrite=overwrite) as folder:
        write_run(folder, run)
        write_history_csv(folder / HISTORY, estimator.history_)
    return run


def load_estimator(kind: type[_Estimator], path: Path) -> _Estimator:
    """Make a fitted estimator of a run, whoever wrote it. Of `ulfine fit`'s runs the classes are the names.

    Args:
        kind: The class of the estimator.
        path: A run directory.

    Raises:
        UlfineError: As `ulfine_fast.run.load_run`.
    """
    run = load_run(path)
    config, classes, columns = run.config, run.provenance.get("classes"), run.provenance.get("columns")
    estimator = kind(run.method, settings=config["settings"], random_state=config["seed"], device=config["device"])
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
