"""What a model answers for every row of a cache: kept, so that no page waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.run import Run

TOP = 5
"""Answers that are shown of a row, one for each of the keys 1 to 5."""

_BLOCK = 8192
_TEXT_SCALE = 100.0
"""CLIP's own: logits are a hundred times the cosine similarity."""


@dataclass(frozen=True)
class Answers:
    """Of one model, for all rows.

    Attributes:
        class_names: C names.
        probabilities: float16 (n, C).
        top: int32 (n, min(C, 5)): the classes of the largest, the largest first.
        by: What gave them, such as a run or the text.
        left_out: Rows to probabilities, float32 (C,) each, of a model that did not learn from the row: labelled rows
            alone, and only those that the fit has left out once.
    """

    class_names: list[str]
    probabilities: npt.NDArray[np.float16]
    top: npt.NDArray[np.int32]
    by: str
    left_out: Mapping[int, npt.NDArray[np.float32]] = field(default_factory=dict)

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """float32 (n,): the largest probability of each row."""
        return np.take_along_axis(self.probabilities, self.top[:, :1], axis=1)[:, 0].astype(np.float32)

    def of(self, row: int) -> list[tuple[str, float]]:
        """The best classes of a row with their probabilities, the best first; left-out ones where there are some."""
        if (left_out := self.left_out.get(row)) is not None:
            order = np.argsort(-left_out, kind="stable")[:TOP].tolist()
            return [(self.class_names[k], round(float(left_out[k]), 4)) for k in order]
        return [(self.class_names[k], round(float(self.probabilities[row, k]), 4)) for k in self.top[row].tolist()]


def answers_of_run(run: Run, cache: FeatureCache) -> Answers:
    """Ask a run about every row of its cache.

    Args:
        run: A loaded run.
        cache: Of the same encoder.

    Raises:
        UlfineError: A shard is damaged, or has no crops that the run looks at.
    """
    from ulfine_fast.judging.five_crops import choose_views, read_views

    views = choose_views("auto", run.views, cache)
    probabilities = np.empty((cache.n_rows, len(run.class_names)), np.float16)
    for start in range(0, cache.n_rows, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, cache.n_rows))
        probabilities[rows] = run.predict_proba(np.stack(list(read_views(cache, rows, views)), axis=1))
    left_out = _left_out(run, cache)
    return Answers(list(run.class_names), probabilities, _top(probabilities), f"run {run.path}", left_out)


def answers_of_text(cache: FeatureCache) -> Answers | None:
    """Ask the text prototypes of a cache, for who has no run yet; None where there are none."""
    if cache.text_features is None:
        return None
    probabilities = np.empty((cache.n_rows, cache.n_classes), np.float16)
    for start in range(0, cache.n_rows, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, cache.n_rows))
        probabilities[rows] = _softmax(_TEXT_SCALE * cache.features(rows) @ cache.text_features.T)
    return Answers(cache.class_names, probabilities, _top(probabilities), "the class names alone")


def _left_out(run: Run, cache: FeatureCache) -> dict[int, npt.NDArray[np.float32]]:
    """What the run says of labelled rows that it did not learn from, from the table that it keeps of them."""
    from ulfine_cache.sources.tables.csv_table import CsvTable
    from ulfine_cache.sources.trees.regular_file import open_regular
    from ulfine_fast.records.predictions import FIXED_COLUMNS
    from ulfine_fast.run import CROSS_VALIDATED

    file = run.path / CROSS_VALIDATED
    if not file.is_file():
        return {}
    table = CsvTable(str(file), lambda: open_regular(str(file)))
    columns = [FIXED_COLUMNS[0], *table.columns[len(FIXED_COLUMNS) :]]
    rows = {path.strip(): row for row, path in enumerate(cache.paths)}
    found: dict[int, npt.NDArray[np.float32]] = {}
    try:
        for _, (path, *shares) in table.rows(columns):
            if len(shares) == len(run.class_names) and str(path) in rows:
                found[rows[str(path)]] = np.array([float(str(share)) for share in shares], np.float32)
    except ValueError as error:
        raise UlfineError(f"{file} is damaged ({error}): fit again") from error
    return found


def _softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float16]:
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float16)


def _top(probabilities: npt.NDArray[np.float16]) -> npt.NDArray[np.int32]:
    most = min(TOP, probabilities.shape[1])
    found = np.empty((len(probabilities), most), np.int32)
    for start in range(0, len(probabilities), _BLOCK):
        # Stable, so that of two equal ones the first class comes first, whatever the machine.
        order = np.argsort(-probabilities[start : start + _BLOCK].astype(np.float32), axis=1, kind="stable")
        found[start : start + _BLOCK] = order[:, :most]
    return found
