"""The loop of gradient steps: what it records, when it ends, and how it is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from torch import Tensor

from ulfine_cache.config import StrictConfig
from ulfine_fast.interruption import first_interrupt_noted

if TYPE_CHECKING:
    from ulfine_cache.progress import Progress

RECORD_EVERY = 20
"""Steps between two entries of the history."""


class DescentSettings(StrictConfig):
    """Settings of a training by gradient.

    Attributes:
        steps: Gradient steps. The last one counts, whatever came before.
        batch_size: Labelled rows per step.
        optimiser: Stochastic gradient descent with a momentum of 0.9, or AdamW.
        learning_rate: Its peak rate, which falls to zero along a cosine.
        weight_decay: Its decay.
        early_stopping: Whether cross-validation on the labelled rows chooses after how many of the steps to stop
            (`ulfine_fast.gradient.early_stopping`).
        folds: Its folds.
    """

    steps: int = Field(default=400, ge=1)
    batch_size: int = Field(default=512, ge=1)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    early_stopping: bool = False
    folds: int = Field(default=5, ge=2)


@dataclass(frozen=True)
class Descent:
    """How the steps went.

    Attributes:
        histories: For each seed one entry per recorded step, as in `FitResult.history`.
        interrupted_at: As in `FitResult`.
    """

    histories: list[list[dict[str, float]]]
    interrupted_at: int | None


def descend(
    step: Callable[[int], Mapping[str, Tensor]],
    *,
    steps: int,
    n_seeds: int,
    progress: Progress,
    check: Callable[[int], tuple[Mapping[str, Tensor], bool]] | None = None,
) -> Descent:
    """Take steps until the last one, until a check says that it is enough, or until Ctrl-C.

    Args:
        step: Takes the step of this number, counted from 1, for all seeds at once, and returns figures: (S,) each.
        steps: How many at most.
        n_seeds: S.
        progress: Told the figures of recorded steps, as means over the seeds.
        check: Called with the number of each recorded step; returns more figures, and whether it is enough.
    """
    histories: list[list[dict[str, float]]] = [[] for _ in range(n_seeds)]
    interrupted_at = None
    with first_interrupt_noted() as interruption:
        for number in range(1, steps + 1):
            figures = dict(step(number))
            if interruption.requested and number < steps:
                interrupted_at = number
            enough = number == steps or interrupted_at is not None
            if number % RECORD_EVERY == 0 or enough:
                if check is not None:
                    more, satisfied = check(number)
                    figures |= more
                    enough = enough or satisfied
                record(histories, number, figures)
                means = {name: float(values.mean()) for name, values in figures.items()}
                progress.update("training", number, steps, **means)
            if enough:
                break
    return Descent(histories, interrupted_at)


def record(histories: list[list[dict[str, float]]], number: int, figures: Mapping[str, Tensor]) -> None:
    """Append an entry to the history of each seed, from figures (S,)."""
    values = {name: tensor.reshape(-1).tolist() for name, tensor in figures.items()}
    for seed, history in enumerate(histories):
        history.append({"step": float(number), **{name: of_seeds[seed] for name, of_seeds in values.items()}})
