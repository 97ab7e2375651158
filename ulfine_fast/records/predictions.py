"""The table of predictions, as CSV or Parquet. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.atomic import make_directory, replacing
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.names.csv_cells import csv_lines
from ulfine_cache.names.written import readable
from ulfine_fast.judging.accepted_rows import Thresholds, accepted_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIXED_COLUMNS = ("path", "label", "confidence")

ACCEPTED = "accepted"
"""The column behind these where the model has a threshold, ``yes`` or ``no``; a boolean in Parquet."""

OUTLIER_SCORE = "outlier_score"
"""The column behind that where the model has such a score; above 1 a row is unlike every class."""


def write_predictions(
    path: Path,
    *,
    paths: Sequence[str],
    probabilities: NDArray[np.floating],
    class_names: Sequence[str],
    threshold: Thresholds | None = None,
    outlier_scores: NDArray[np.floating] | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write one line per input: path, label, confidence, then one column per class with its probability.

    The file appears complete or not at all. Rows keep their order. A class that is itself called path, label or
    confidence gets the column ``"class <name>"``. In CSV, names that a spreadsheet would run are guarded
    (`ulfine_cache.names.csv_cells`).

    Args:
        path: Ends in ``.csv`` or ``.parquet``.
        paths: N names of inputs.
        probabilities: float (N, C). The label is the class of the largest, the confidence its value.
        class_names: C names.
        threshold: Where there is one, for all or by class, the column `ACCEPTED` behind the confidence says which reach
            it.
        outlier_scores: float (N,), where there are some, for the column `OUTLIER_SCORE` behind that.
        about: Words about the table that a Parquet file carries in the metadata of its schema.

    Raises:
        UsageError: The file name ends otherwise.
        UlfineError: The target cannot be written, or it is Parquet and pyarrow is not installed.

    Example:
        >>> table = np.array([[0.8, 0.2]])
        >>> write_predictions(Path("p.csv"), paths=["a.jpg"], probabilities=table, class_names=["x", "y"])
        >>> Path("p.csv").read_text().splitlines()
        ['path,label,confidence,x,y', 'a.jpg,x,0.8,0.8,0.2']
    """
    check_predictions_path(path)
    labels = [class_names[int(k)] for k in probabilities.argmax(axis=1)] if len(paths) else []
    extra = (*([] if threshold is None else [ACCEPTED]), *([] if outlier_scores is None else [OUTLIER_SCORE]))
    fixed = (*FIXED_COLUMNS, *extra)
    columns = _columns(class_names, fixed)
    make_directory(path.parent)
    with replacing(path) as partial:
        if path.suffix.lower() == ".csv":
            _write_csv(
                partial, columns, paths, labels, probabilities, marks_of(probabilities, threshold, outlier_scores)
            )
        else:
            _write_parquet(partial, columns, paths, labels, probabilities, threshold, outlier_scores, about)


def check_predictions_path(path: Path) -> None:
    """Refuse a target that `write_predictions` would refuse, before anything is computed.

    Raises:
        UsageError: The file name ends in neither ``.csv`` nor ``.parquet``.
        UlfineError: It is Parquet and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise UsageError(f"cannot tell the format of {path}: the name must end in .csv or .parquet")
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401  # pyright: ignore[reportUnusedImport]
        except ImportError as error:
            raise UlfineError(
                f"{path} needs pyarrow: pip install 'ulfine-fast[parquet]' or write a .csv instead"
            ) from error


def _columns(class_names: Sequence[str], fixed: Sequence[str]) -> list[str]:
    """The header: no two columns have one name."""
    taken = {*fixed, *class_names}
    columns: list[str] = list(fixed)
    for name in class_names:
        column = name
        while column in fixed or (column != name and column in taken):
            column = f"class {column}"
        columns.append(column)
        taken.add(column)
    return columns


def _write_csv(
    target: Path,
    columns: list[str],
    paths: Sequence[str],
    labels: list[str],
    probabilities: NDArray[np.floating],
    marks: list[list[str]],
) -> None:
    with csv_lines(target) as write:
        write(columns)
        # One template per line and Python floats: formatting numpy's numbers one by one takes nearly twice as long.
        template = ",".join(["%.7g"] * probabilities.shape[1])
        for name, label, row, mark in zip(paths, labels, probabilities, marks, strict=True):
            values = row.tolist()
            write([name, label], [f"{max(values):.7g}", *mark, *(template % tuple(values)).split(",")])


def marks_of(
    probabilities: NDArray[np.floating], threshold: Thresholds | None, outlier_scores: NDArray[np.floating] | None
) -> list[list[str]]:
    """The cells behind the confidence of each row: those of `ACCEPTED` and `OUTLIER_SCORE` that there are."""
    marks: list[list[str]] = [[] for _ in range(len(probabilities))]
    if threshold is not None:
        for mark, accepted in zip(marks, accepted_rows(probabilities, threshold).tolist(), strict=True):
            mark.append("yes" if accepted else "no")
    if outlier_scores is not None:
        for mark, score in zip(marks, outlier_scores.tolist(), strict=True):
            mark.append(f"{score:.7g}")
    return marks


def _write_parquet(
    target: Path,
    columns: list[str],
    paths: Sequence[str],
    labels: list[str],
    probabilities: NDArray[np.floating],
    threshold: Thresholds | None,
    outlier_scores: NDArray[np.floating] | None,
    about: Mapping[str, str] | None,
) -> None:
    import pyarrow
    from pyarrow import parquet

    values = np.asarray(probabilities, dtype=np.float32)
    confidence = values.max(axis=1) if len(values) else values[:, 0]
    arrays = [
        pyarrow.array(list(map(readable, paths)), pyarrow.string()),
        pyarrow.array(list(map(readable, labels)), pyarrow.string()),
        pyarrow.array(confidence),
        *([] if threshold is None else [pyarrow.array(accepted_rows(values, threshold))]),
        *([] if outlier_scores is None else [pyarrow.array(np.asarray(outlier_scores, dtype=np.float32))]),
        *(pyarrow.array(np.ascontiguousarray(column)) for column in values.T),
    ]
    metadata = dict(about) if about else None
    parquet.write_table(pyarrow.table(arrays, names=list(map(readable, columns)), metadata=metadata), target)
