"""The model of methods that keep their rows: the most similar ones vote."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ulfine_fast.models.logit_model import LogitModel

# Keeps the logarithm of a class without votes finite; its probability is this small.
FLOOR = 1e-6

# Similarities held at once when many rows are predicted: 256 MiB as float32.
SIMILARITIES_AT_ONCE = 2**26


def vote_logits(similarities: Tensor, votes: Tensor, n_neighbours: int, vote_temperature: float | None) -> Tensor:
    """Logarithm of the share of votes that each class has among the nearest stored rows.

    Rows as similar as the last of the nearest vote as well, so the order of storage cannot matter.

    Args:
        similarities: float (N, M), cosines.
        votes: float (M, C), each row a distribution, or zeros.
        n_neighbours: k, at most M.
        vote_temperature: A neighbour weighs `exp(s / vote_temperature)`; with None all weigh the same.

    Returns:
        float (N, C), logarithms of numbers that sum to 1, up to `FLOOR`.
    """
    last = similarities.topk(n_neighbours, dim=-1).values[:, -1:]
    near = (similarities >= last).to(similarities.dtype)
    weights = near if vote_temperature is None else near * torch.exp((similarities - 1.0) / vote_temperature)
    counted = weights @ votes
    return torch.log(counted / counted.sum(-1, keepdim=True).clamp_min(1e-30) + FLOOR)


class NeighbourVote(LogitModel):
    """The `n_neighbours` nearest stored rows vote, each with its own distribution over the classes.

    Example:
        >>> model = NeighbourVote(n_rows=10, n_features=8, n_classes=3, n_neighbours=5, vote_temperature=0.07)
        >>> model(torch.rand(5, 8)).shape
        torch.Size([5, 3])
    """

    rows: Tensor
    votes: Tensor

    def __init__(
        self, *, n_rows: int, n_features: int, n_classes: int, n_neighbours: int, vote_temperature: float | None
    ) -> None:
        super().__init__()
        self.n_neighbours = n_neighbours
        self.vote_temperature = vote_temperature
        self.register_buffer("rows", torch.zeros(n_rows, n_features))
        self.register_buffer("votes", torch.zeros(n_rows, n_classes))

    def logits(self, features: Tensor) -> Tensor:
        """Logits of unit features, (N, D) to (N, C)."""
        return vote_logits(features @ self.rows.T, self.votes, self.n_neighbours, self.vote_temperature)

    def probabilities(self, features: Tensor, batch_size: int | None = None) -> Tensor:
        """As in `LogitModel`, in blocks that suit the number of stored rows."""
        return super().probabilities(features, batch_size or max(1, SIMILARITIES_AT_ONCE // len(self.rows)))

    def architecture(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            "n_rows": self.rows.shape[0],
            "n_features": self.rows.shape[1],
            "n_classes": self.votes.shape[1],
            "n_neighbours": self.n_neighbours,
            "vote_temperature": self.vote_temperature,
        }

    @classmethod
    def of(cls, rows: Tensor, votes: Tensor, n_neighbours: int, vote_temperature: float | None) -> NeighbourVote:
        """A model in evaluation mode with rows (M, D) and votes (M, C), on their device."""
        model = cls(
            n_rows=rows.shape[0],
            n_features=rows.shape[1],
            n_classes=votes.shape[1],
            n_neighbours=min(n_neighbours, len(rows)),
            vote_temperature=vote_temperature,
        )
        model.load_state_dict({"rows": rows, "votes": votes})
        return model.to(rows.device).eval()
