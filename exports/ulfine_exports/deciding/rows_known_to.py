"""Which rows of a cache a model has learnt from, as far as it says."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache


def rows_known_to(model: Path, cache: "FeatureCache") -> NDArray[np.int64] | None:
    """Rows that a model was fitted on.

    A run names them by their paths; one of an earlier version has its split drawn again. An exported file tells its
    cache and its split.

    Args:
        model: Directory of a run, or an exported file.
        cache: An open cache.

    Returns:
        int64, rising; None where nobody can say.
    """
    return _of_run(model, cache) if model.is_dir() else _of_export(model, cache)


def _of_run(model: Path, cache: "FeatureCache") -> NDArray[np.int64] | None:
    from ulfine_fast.evaluate import fitted_split
    from ulfine_fast.records.rows_fitted_on import paths_fitted_on
    from ulfine_fast.run import load_run

    run = load_run(model)
    try:
        fitted = fitted_split(run, cache)
    except UlfineError:
        fitted = None
    if fitted is not None:
        return np.union1d(fitted.labelled, fitted.unlabelled)
    paths = paths_fitted_on(model)
    made = run.cache
    # Paths are relative to a source: those of another one may be the same and mean other images.
    if paths is None or made is None or made.get("source") != cache.attributes.get("source"):
        return None
    return np.flatnonzero([path in paths for path in cache.paths])


def _of_export(model: Path, cache: "FeatureCache") -> NDArray[np.int64] | None:
    from ulfine_exports.inference.untrusted_model import read_model
    from ulfine_exports.metadata import ExportMetadata

    props = {item.key: item.value for item in read_model(model).metadata_props}
    metadata = ExportMetadata.from_props(props, str(model))
    if metadata.cache_fingerprint != cache.fingerprint:
        return None
    try:
        split = cache.read_split(metadata.split or None)
    except UlfineError:
        return None
    return np.union1d(split.labelled, split.unlabelled)
