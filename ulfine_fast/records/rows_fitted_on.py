"""Which rows a run learnt from, as files in its directory: what it says of the unlabelled ones, and the labelled ones.

Both name images by their path, so that a cache that has grown since can be asked which of its rows the run knows.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.names.csv_cells import csv_lines, from_cell
from ulfine_fast.records.predictions import ACCEPTED, OUTLIER_SCORE, marks_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split
    from ulfine_fast.judging.accepted_rows import Thresholds

LABELLED, UNLABELLED = "labelled.csv", "unlabelled.csv"

BLOCK_ROWS = 65536


def write_labelled(folder: Path, cache: FeatureCache, split: Split) -> None:
    """Write the path and the label of every labelled row."""
    names = cache.class_names
    with csv_lines(folder / LABELLED) as write:
        write(["path", "label"])
        for path, label in zip(cache.paths_of(split.labelled), cache.labels[split.labelled].tolist(), strict=True):
            write([path, names[label]])


def write_unlabelled(
    folder: Path,
    cache: FeatureCache,
    split: Split,
    probabilities_of: Callable[[NDArray[np.int64]], NDArray[np.float32]],
    threshold: Thresholds | None = None,
    outlier_scores_of: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None,
) -> None:
    """Write path, label and confidence of every unlabelled row, the label being the most probable class.

    Args:
        folder: An existing directory.
        cache: The cache.
        split: One of its splits; without unlabelled rows nothing is written.
        probabilities_of: Gives float32 (n, C) for int64 (n,) rows; asked for blocks, so that memory holds one.
        threshold: Where there is one, for all or by class, a column ``accepted`` says which confidences reach it.
        outlier_scores_of: Where there is one, gives float32 (n,) for the column ``outlier_score``.
    """
    if not len(split.unlabelled):
        return
    names = cache.class_names
    with csv_lines(folder / UNLABELLED) as write:
        extra = [*([] if threshold is None else [ACCEPTED]), *([] if outlier_scores_of is None else [OUTLIER_SCORE])]
        write(["path", "label", "confidence", *extra])
        for start in range(0, len(split.unlabelled), BLOCK_ROWS):
            rows = split.unlabelled[start : start + BLOCK_ROWS]
            table = probabilities_of(rows)
            marks = marks_of(table, threshold, None if outlier_scores_of is None else outlier_scores_of(rows))
            labels, confidences = table.argmax(axis=1).tolist(), table.max(axis=1).tolist()
            for path, label, confidence, mark in zip(cache.paths_of(rows), labels, confidences, marks, strict=True):
                write([path, names[label]], [f"{confidence:.7g}", *mark])


def paths_fitted_on(folder: Path) -> set[str] | None:
    """The paths of the rows that a run learnt from; None where it does not say, as runs of earlier versions.

    Example:
        >>> paths_fitted_on(Path("nowhere")) is None
        True
    """
    if not (folder / LABELLED).is_file():
        return None
    return _paths(folder / LABELLED) | _paths(folder / UNLABELLED)


def _paths(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    with file.open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
        lines = csv.reader(opened)
        next(lines, None)
        return {from_cell(line[0]) for line in lines if line}
