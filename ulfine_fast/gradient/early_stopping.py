"""How many gradient steps are enough, by cross-validation on the labelled rows, side by side with the fit itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ulfine_fast.gradient.side_by_side import Axes
from ulfine_fast.rows.cross_validation import usable_rows
from ulfine_fast.rows.folds import balanced_weights, stratified_folds

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress
    from ulfine_fast.rows.training_data import TrainingData

PATIENCE = 100
"""Steps without a lower left-out loss after which nothing better is expected."""


def can_stop_early(data: TrainingData, progress: Progress) -> bool:
    """Whether there are rows that can be left out and scored; progress is told where there are none."""
    if len(data.labels) > 1 and bool(usable_rows(data).any()):
        return True
    progress.note("early stopping needs labelled rows that can be left out: all steps are taken")
    return False


Kept = TypeVar("Kept")


class EarlyStopping(Generic[Kept]):
    """Keeps, for each seed, what the whole problem was at the step at which rows left out are predicted best.

    For each seed the whole fit and one fit without each fold of the labelled rows take the same steps. Left-out rows
    are scored by cross-entropy, balanced over classes, as in `ulfine_fast.rows.cross_validation.choose_setting`;
    without text a class of one row has no say. What is kept is the fit of all labelled rows after that many steps of
    the full schedule, so nothing is trained again. The start, step 0, takes part.

    Args:
        data: All labelled rows; at least 2.
        seeds: S seeds, each of which deals its own folds.
        n_folds: K.

    Attributes:
        axes: S seeds and 1 + K problems.
        keep: bool (S, 1 + K, N), the rows that each problem learns from.
        best_step: The kept step of each seed.
        best_loss: Its left-out loss.
        kept: What was kept of each seed.
    """

    def __init__(self, data: TrainingData, seeds: Sequence[int], n_folds: int) -> None:
        n_folds = min(n_folds, len(data.labels))
        deal = [stratified_folds(data.labels, n_folds, torch.Generator().manual_seed(seed)) for seed in seeds]
        self.axes = Axes(len(seeds), 1 + n_folds)
        self._data = data
        self._left_out_by = torch.stack(deal) + 1
        problems = torch.arange(1 + n_folds, device=data.labels.device)
        self.keep = self._left_out_by[:, None, :] != problems[:, None]
        weights = balanced_weights(data.labels, data.labelled_counts, usable_rows(data))
        self._weights = weights / weights.sum()
        self.best_step = [0] * len(seeds)
        self.best_loss = [float("inf")] * len(seeds)
        self.kept: dict[int, Kept] = {}

    def row_weights(self, rows: Tensor) -> Tensor:
        """1 for rows that a model learns from, 0 for others, float (S, B, N) without the axes of length 1.

        Args:
            rows: int64 (S, N), or (N,) for one seed: row numbers of a batch.
        """
        rows = rows.reshape(self.axes.seeds, 1, -1).expand(-1, self.axes.problems, -1)
        return self.keep.gather(-1, rows).float().reshape(*self.axes.shape, -1)

    def look(self, step: int, logits: Tensor, snapshot: Callable[[], Sequence[Kept]]) -> tuple[Tensor, bool]:
        """Compare the models after a step with those before, and keep the best.

        Args:
            step: Its number.
            logits: float (..., N, C), of all labelled rows by all models.
            snapshot: What is to be kept of each seed; called where there is something to keep.

        Returns:
            The left-out loss of each seed, float (S,), and whether all have gone `PATIENCE` steps without a lower one.
        """
        seeds, rows = self.axes.seeds, torch.arange(len(self._data.labels), device=logits.device)
        logits = logits.reshape(seeds, self.axes.problems, *logits.shape[-2:])
        losses = []
        for seed, left_out_by in enumerate(self._left_out_by):
            left_out = logits[seed, left_out_by, rows].double()
            losses.append((self._weights * cross_entropy(left_out, self._data.labels, reduction="none")).sum())
        better = [seed for seed, loss in enumerate(losses) if float(loss) < self.best_loss[seed]]
        now = snapshot() if better else []
        for seed in better:
            self.best_step[seed], self.best_loss[seed], self.kept[seed] = step, float(losses[seed]), now[seed]
        return torch.stack(losses), all(step - best >= PATIENCE for best in self.best_step)
