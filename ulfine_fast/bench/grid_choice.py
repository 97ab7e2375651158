"""Choosing among settings on labelled rows that the fit did not see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ulfine_cache.progress import Silent
from ulfine_fast.rows.cross_validation import choose_setting, kept, usable_rows
from ulfine_fast.training import train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from ulfine_cache.config import StrictConfig
    from ulfine_fast.bench.contender import Contender
    from ulfine_fast.rows.training_data import TrainingData

N_FOLDS = 5
"""Parts of the labelled rows; each is left out once."""


def choose_from_grid(contender: Contender, data: TrainingData, seed: int) -> tuple[StrictConfig, dict[str, Any] | None]:
    """Choose the settings of a fit by the rule that all methods share (`ulfine_fast.rows.cross_validation`).

    Test rows are not in `data`, so nothing can be chosen on them.

    Args:
        contender: With or without a grid.
        data: What it is fitted on.
        seed: Of the fit; it also deals the labelled rows into folds.

    Returns:
        The settings; and, JSON-able, what was tried with the macro accuracy on left-out rows, None without a grid.
    """
    if not contender.grid:
        return contender.settings, None
    # A class that would be left without a row and without text cannot be fitted; such rows have no say either.
    alone = ~usable_rows(data)

    def fold_logits(keep: Tensor) -> Iterator[Tensor]:
        part, left_out = kept(data, keep | alone), data.features[~keep].cpu()
        for values in contender.grid:
            with torch.no_grad():
                yield train(contender.method, values, part, seed, Silent()).model(left_out).to(data.labels.device)

    default = contender.grid.index(contender.settings) if contender.settings in contender.grid else 0
    choice = choose_setting(
        data, fold_logits, n_settings=len(contender.grid), default=default, n_folds=N_FOLDS, seed=seed
    )
    tried = [values.model_dump(mode="json") for values in contender.grid]
    return contender.grid[choice.index], {"tried": tried, "left_out_macro_accuracy": choice.macro_accuracy}
