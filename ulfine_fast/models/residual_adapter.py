"""The lightweight adapter: a small residual correction of frozen features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize


class ResidualAdapter(nn.Module):
    """`normalise(x + up(relu(down(x))))`, the identity before training because `up` starts at zero.

    The bottleneck is that of CLIP-Adapter (Gao et al., 2021, section 3.2) with a plain residual instead of its mixing
    ratio, so that an untrained adapter changes nothing.

    Args:
        n_features: D.
        width: Width of the bottleneck.
        generator: Source of the initial weights of `down`; None leaves them zero, for weights that are loaded next.

    Example:
        >>> adapter = ResidualAdapter(8, 2, torch.Generator().manual_seed(0))
        >>> unit = normalize(torch.ones(1, 8), dim=-1)
        >>> torch.equal(adapter(unit), normalize(unit, dim=-1))
        True
    """

    def __init__(self, n_features: int, width: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.zeros(width, n_features))
        self.up = nn.Parameter(torch.zeros(n_features, width))
        if generator is not None:
            with torch.no_grad():
                self.down.normal_(0.0, n_features**-0.5, generator=generator)

    def forward(self, features: Tensor) -> Tensor:
        """Adapt features.

        Args:
            features: float32 (N, D), unit length; (..., N, D) for adapters side by side.

        Returns:
            float32 (N, D) or (..., N, D), unit length.
        """
        hidden = torch.relu(features @ self.down.mT)
        return normalize(features + hidden @ self.up.mT, dim=-1)
