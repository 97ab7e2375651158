"""Features with their common directions turned down: cosines there tell classes apart that all look alike before."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

RIDGE = 0.5
"""What is added to every variance, in units of their mean."""


@dataclass(frozen=True)
class WhitenedSpace:
    """A centre and axes that are stretched by the inverse root of their variance.

    Attributes:
        centre: float32 (D,).
        axes: float32 (D, D).
    """

    centre: Tensor
    axes: Tensor

    @classmethod
    def of(cls, blocks: Iterable[Tensor], ridge: float = RIDGE) -> WhitenedSpace:
        """The space of rows, from one pass over blocks of them, float32 (n, D).

        Args:
            blocks: At least one row in all.
            ridge: Share of the mean variance that every direction has at least.
        """
        count, total, gram = 0, torch.zeros(()), torch.zeros(())
        for block in blocks:
            rows = block.double()
            count, total, gram = count + len(rows), total + rows.sum(0), gram + rows.T @ rows
        centre = total / count
        values, vectors = torch.linalg.eigh(gram / count - torch.outer(centre, centre))
        values = values.clamp_min(0)
        scale = (values + ridge * values.mean().clamp_min(1e-12)).rsqrt()
        return cls(centre.float(), (vectors * scale).float())

    def __call__(self, rows: Tensor) -> Tensor:
        """Rows float32 (n, D) as unit vectors of the space."""
        return torch.nn.functional.normalize((rows - self.centre) @ self.axes, dim=-1)
