"""The image halves of several encoders as one module, for export."""

from collections.abc import Sequence

import torch
from torch import nn

from ulfine_cache.pictures.joined_preprocess import JoinedPreprocess
from ulfine_cache.preprocess import Preprocess


class JoinedTower(nn.Module):
    """Several image towers, whose features are put side by side and brought to unit length together.

    Args:
        towers: For each encoder pixels, float32 (n, 3, H, W), to features of unit length.
        preprocess: What becomes of a picture: the same for all, or a row of numbers of which each tower takes its part.
    """

    def __init__(self, towers: Sequence[nn.Module], preprocess: Preprocess) -> None:
        super().__init__()
        self.towers = nn.ModuleList(towers)
        self.shapes: list[tuple[int, int, int]] = []
        self.widths: list[int] = []
        if isinstance(preprocess, JoinedPreprocess):
            self.shapes = [(3, *part.size) for part in preprocess.parts]
            self.widths = list(preprocess.widths)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode float32 (n, 3, H, W), or (n, L) of `JoinedPreprocess`, to float32 (n, D), unit norm."""
        each = [pixels] * len(self.towers)
        if self.widths:
            rows = pixels.split(self.widths, dim=-1)
            each = [row.unflatten(-1, shape) for row, shape in zip(rows, self.shapes, strict=True)]
        features = [tower(part) for tower, part in zip(self.towers, each, strict=True)]
        return torch.cat(features, dim=-1) / len(self.towers) ** 0.5
