"""Rows that a run has answered for: labelled ones that it never learnt from, and unlabelled ones."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ulfine_cache.errors import UlfineError
from ulfine_cache.names.csv_cells import from_cell

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.run import Run

MOST_ROWS = 20_000
"""Of each kind that are looked at; of more, a sample that covers them evenly."""

MOST_PROBABILITIES = 50_000_000
"""Of all classes of these rows, 200 MB: of very many classes fewer rows are looked at."""

BLOCK_ROWS = 1024

ZERO_SHOT, PROBE = "zero-shot", "probe"


@dataclass(frozen=True)
class JudgedRows:
    """Answers of a run.

    Attributes:
        rows: int64 (N,), of the cache.
        truth: int64 (N,), -1 where it is unknown.
        probabilities: float32 (N, C).
        parts: What parts of the model, and the text alone, would have answered: int64 (N,) by name; empty where there
            are none.
        of: How many rows there were before `MOST_ROWS`.

    Example:
        >>> judged = JudgedRows(np.array([4]), np.array([1]), np.array([[0.25, 0.75]], np.float32), {}, 1)
        >>> judged.predicted, judged.confidence, judged.right
        (array([1]), array([0.75], dtype=float32), array([ True]))
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    parts: dict[str, NDArray[np.int64]]
    of: int

    @property
    def predicted(self) -> NDArray[np.int64]:
        """int64 (N,), the most probable class."""
        return self.probabilities.argmax(axis=1)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """float32 (N,), its probability."""
        return self.probabilities.max(axis=1)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Bool (N,), whether it is the truth."""
        return self.predicted == self.truth


def answers(run: Run, cache: FeatureCache, rows: NDArray[np.int64], *, parts: bool = False) -> JudgedRows:
    """Let a run answer for rows of a cache.

    Args:
        run: A loaded run.
        cache: Of the same encoder.
        rows: int64 (N,), in any order.
        parts: Ask the parts of the model as well, and the text features alone.
    """
    import torch

    from ulfine_fast.judging.five_crops import choose_views, read_views
    from ulfine_fast.rows.sample_places import sample_places

    views = choose_views("auto", run.views, cache)
    chosen = rows[sample_places(len(rows), max(1, min(MOST_ROWS, MOST_PROBABILITIES // cache.n_classes)))]
    text = torch.as_tensor(cache.text_features).T if cache.text_features is not None and parts else None
    probabilities = np.empty((len(chosen), cache.n_classes), np.float32)
    told: dict[str, list[NDArray[np.int64]]] = {}
    for start in range(0, len(chosen), BLOCK_ROWS):
        place = slice(start, start + BLOCK_ROWS)
        sums: dict[str, torch.Tensor] = {}
        count = 0
        with torch.no_grad():
            for view in map(torch.as_tensor, read_views(cache, chosen[place], views)):
                count += 1
                logits = {"": run.model(view)}
                if parts:
                    # The text side of a fusion holds fitted prototypes: what text alone says is another thing.
                    logits |= {name: found for name, found in run.model.parts(view).items() if name == PROBE}
                    logits |= {} if text is None else {ZERO_SHOT: view @ text}
                for name, found in logits.items():
                    sums[name] = sums[name] + found if name in sums else found
        probabilities[place] = torch.softmax(sums.pop("") / count, dim=-1).numpy()
        for name, total in sums.items():
            told.setdefault(name, []).append(total.argmax(dim=1).numpy())
    of_parts = {name: np.concatenate(found) for name, found in sorted(told.items(), reverse=True)}
    return JudgedRows(chosen, cache.labels[chosen], probabilities, of_parts, len(rows))


def cross_validated(path: Path, cache: FeatureCache, labelled: NDArray[np.int64]) -> JudgedRows:
    """Read what folds said of the labelled rows that they had not seen.

    A class of one labelled row has no say: nothing was left to learn it from.

    Args:
        path: ``cross_validated.csv`` of a run, with the columns of ``predictions.csv``.
        cache: The cache that the run was fitted on.
        labelled: int64, its labelled rows.

    Raises:
        UlfineError: The file is damaged or names other images.
    """
    row_of = dict(zip(cache.paths_of(labelled), labelled.tolist(), strict=True))
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            lines = csv.reader(file)
            width = len(next(lines)) - 3
            found = [(row_of[from_cell(line[0])], [float(value) for value in line[3:]]) for line in lines]
        rows = np.array([row for row, _ in found], np.int64)
        probabilities = np.array([values for _, values in found], np.float32).reshape(len(found), width)
        if width != cache.n_classes or not np.isfinite(probabilities).all():
            raise ValueError("other classes")
    except (OSError, ValueError, KeyError, StopIteration, csv.Error) as error:
        raise UlfineError(f"{path} does not fit the cache {cache.path}") from error
    truth = cache.labels[rows]
    judged = np.bincount(cache.labels[labelled], minlength=width)[truth] > 1
    return JudgedRows(rows[judged], truth[judged], probabilities[judged], {}, int(judged.sum()))
