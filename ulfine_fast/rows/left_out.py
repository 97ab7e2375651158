"""What a fit says of labelled rows that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LeftOut:
    """Looks at labelled rows by problems that left them out; a row may be looked at more than once, or not at all.

    Attributes:
        rows: int64 (M,), positions among the labelled rows.
        logits: float32 (M, C), on the scale of the final model.
        known: int64 (M,), labelled rows of the row's class that the problem learnt from; None where that is not told.
        offsets: float32 (M,), what the problem's own model adds to all logits of a look: probabilities do not know it,
            energies do; None: nothing.
    """

    rows: Tensor
    logits: Tensor
    known: Tensor | None = None
    offsets: Tensor | None = None

    def energies(self) -> NDArray[np.float64]:
        """The energy `-log sum_k exp z_k`, the mean over looks, of the rows of `averaged`: float64 (R,).

        Example:
            >>> LeftOut(torch.tensor([4, 4]), torch.zeros(2, 1), offsets=torch.tensor([1.0, 3.0])).energies().tolist()
            [-2.0]
        """
        rows, looks = torch.unique(self.rows, return_inverse=True)
        energies = -torch.logsumexp(self.logits.double(), dim=-1)
        if self.offsets is not None:
            energies = energies - self.offsets.double()
        sums = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, looks, energies)
        return (sums / torch.bincount(looks, minlength=len(rows))).numpy()

    def known_share(self, labels: Tensor) -> NDArray[np.float64] | None:
        """The share of its class that was learnt from when a row was looked at, the mean over looks.

        Args:
            labels: int64 (N,), of all labelled rows.

        Returns:
            float64 (R,), 0 to 1, of the rows of `averaged`; None where that is not told.
        """
        if self.known is None:
            return None
        rows, looks = torch.unique(self.rows, return_inverse=True)
        shares = self.known.double() / torch.bincount(labels)[labels[self.rows]]
        sums = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, looks, shares)
        return (sums / torch.bincount(looks, minlength=len(rows))).numpy()

    def averaged(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The mean over looks of the probabilities.

        Returns:
            int64 (R,), the rows that were looked at, rising; float32 (R, C), each sums to 1.

        Example:
            >>> rows, probabilities = LeftOut(torch.tensor([4, 4]), torch.zeros(2, 3)).averaged()
            >>> rows.tolist(), probabilities.shape
            ([4], (1, 3))
        """
        rows, looks = torch.unique(self.rows, return_inverse=True)
        sums = torch.zeros(len(rows), self.logits.shape[1], dtype=torch.float64)
        sums.index_add_(0, looks, torch.softmax(self.logits.double(), dim=-1))
        counts = torch.bincount(looks, minlength=len(rows))
        return rows.numpy(), (sums / counts[:, None]).float().numpy()


def together(looks: Sequence[LeftOut | None], shares: Sequence[float]) -> LeftOut | None:
    """What several classifiers whose logits are added say; None where one left out other rows, or none.

    Args:
        looks: Of each.
        shares: What its logits are multiplied by.
    """
    known = [look for look in looks if look is not None]
    if len(known) < len(looks) or any(not torch.equal(look.rows, known[0].rows) for look in known):
        return None
    logits = [share * look.logits for share, look in zip(shares, known, strict=True)]
    offsets = [share * look.offsets for share, look in zip(shares, known, strict=True) if look.offsets is not None]
    return LeftOut(known[0].rows, torch.stack(logits).sum(0), offsets=torch.stack(offsets).sum(0) if offsets else None)
