"""The model of a graph whose nodes have labels: a new row joins it and takes those of its nearest nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ulfine_fast.models.logit_model import LogitModel
from ulfine_fast.models.neighbour_vote import FLOOR, SIMILARITIES_AT_ONCE

TINY = 1e-6
"""What is added to the root of a node's degree."""


@dataclass(frozen=True)
class Nodes:
    """Nodes of one kind.

    Attributes:
        rows: float (M, D), unit length.
        channels: float (D,), at least 0: what the coordinates of another row are multiplied by before it is compared.
        degrees: float (M,), sums of the edges that nodes have.
        labels: float (M, C), what nodes hand on.
        neighbours: How many of them a row joins.
    """

    rows: Tensor
    channels: Tensor
    degrees: Tensor
    labels: Tensor
    neighbours: int


def edges(features: Tensor, rows: Tensor, channels: Tensor, gamma: float) -> Tensor:
    """`max(0, cos(channels * x, r))^gamma`, (N, M)."""
    return (normalize(features * channels, dim=-1) @ rows.mT).clamp_min(0.0) ** gamma


class PropagatedVotes(LogitModel):
    """Logarithm of the share of each class in what the nearest nodes of each kind hand on.

    A node of degree d hands its label on along an edge e with the weight `e / sqrt(d + e)`, since the edge counts in
    its degree. Rows as similar as the last of the nearest count as well, so the order of storage cannot matter.

    Example:
        >>> model = PropagatedVotes(n_rows=[3, 10, 20], neighbours=[3, 8, 8], n_features=8, n_classes=3, gamma=10.0)
        >>> model(torch.rand(5, 8)).shape
        torch.Size([5, 3])
    """

    def __init__(
        self, *, n_rows: Sequence[int], neighbours: Sequence[int], n_features: int, n_classes: int, gamma: float
    ) -> None:
        super().__init__()
        self.n_rows = list(n_rows)
        self.neighbours = list(neighbours)
        self.n_features = n_features
        self.n_classes = n_classes
        self.gamma = gamma
        for kind, count in enumerate(n_rows):
            self.register_buffer(f"rows_{kind}", torch.zeros(count, n_features))
            self.register_buffer(f"channels_{kind}", torch.ones(n_features))
            self.register_buffer(f"degrees_{kind}", torch.zeros(count))
            self.register_buffer(f"labels_{kind}", torch.zeros(count, n_classes))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of unit features, (N, D) to (N, C)."""
        counted = torch.stack([self._handed_on(features, kind) for kind, count in enumerate(self.n_rows) if count]).sum(
            0
        )
        return torch.log(counted / counted.sum(-1, keepdim=True).clamp_min(1e-30) + FLOOR)

    def _handed_on(self, features: Tensor, kind: int) -> Tensor:
        """What nodes of one kind hand on to rows, (N, C)."""
        found = edges(features, self._of("rows", kind), self._of("channels", kind), self.gamma)
        last = found.topk(min(self.neighbours[kind], self.n_rows[kind]), dim=-1).values[:, -1:]
        near = torch.where(found >= last, found, torch.zeros_like(found))
        return near / (torch.sqrt(self._of("degrees", kind) + near) + TINY) @ self._of("labels", kind)

    def _of(self, name: str, kind: int) -> Tensor:
        return self.get_buffer(f"{name}_{kind}")

    def probabilities(self, features: Tensor, batch_size: int | None = None) -> Tensor:
        """As in `LogitModel`, in blocks that suit the number of stored rows."""
        return super().probabilities(features, batch_size or max(1, SIMILARITIES_AT_ONCE // sum(self.n_rows)))

    def architecture(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "n_rows": self.n_rows,
            "neighbours": self.neighbours,
            "n_features": self.n_features,
            "n_classes": self.n_classes,
            "gamma": self.gamma,
        }

    @classmethod
    def of(cls, kinds: Sequence[Nodes], gamma: float) -> PropagatedVotes:
        """A model in evaluation mode, on the device of the nodes."""
        model = cls(
            n_rows=[len(nodes.rows) for nodes in kinds],
            neighbours=[nodes.neighbours for nodes in kinds],
            n_features=kinds[0].rows.shape[1],
            n_classes=kinds[0].labels.shape[1],
            gamma=gamma,
        )
        names = ("rows", "channels", "degrees", "labels")
        state = {f"{name}_{kind}": getattr(nodes, name) for kind, nodes in enumerate(kinds) for name in names}
        model.load_state_dict(state)
        return model.to(kinds[0].rows.device).eval()
