"""The image half of an encoder as one module, for export."""

import copy

import torch
from torch import nn
from torch.nn import functional

from ulfine_cache.encoders.lean_tower import lean
from ulfine_cache.encoders.timm_model import TimmImageModel


class ImageTower(nn.Module):
    """The image half of a model, with the normalisation at its end."""

    def __init__(self, model: nn.Module) -> None:
        import open_clip

        super().__init__()
        # Without the text half where the class is known to encode images by its visual tower alone.
        plain = type(model) in (open_clip.CLIP, open_clip.CustomTextCLIP, TimmImageModel)
        self.visual = model.visual if plain else None
        self.whole = None if plain else model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode float32 (n, 3, H, W) to float32 (n, D), unit norm."""
        features = self.visual(pixels) if self.whole is None else self.whole.encode_image(pixels)  # pyright: ignore
        return functional.normalize(features, dim=-1)


def lean_tower(tower: ImageTower) -> ImageTower:
    """The same tower, rewritten by `ulfine_cache.encoders.lean_tower.lean`; itself where nothing changes."""
    visual = tower.visual
    if not isinstance(visual, nn.Module):
        return tower
    rewritten = lean(visual)
    if rewritten is visual:
        return tower
    leaner = copy.copy(tower)
    leaner._modules = {**tower._modules, "visual": rewritten}  # pyright: ignore[reportPrivateUsage]
    return leaner
