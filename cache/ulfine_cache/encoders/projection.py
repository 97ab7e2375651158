"""The last step of an image encoder, where it is linear: CLIP's projection into the space that it shares with text."""

import copy
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from ulfine_cache.errors import UlfineError
from ulfine_cache.store.unit_norm import unit_norm

_SAME_DIRECTION = 0.999


@dataclass(frozen=True)
class Projection:
    """An image encoder in two parts that share its weights: what comes before the last linear step, and that step.

    Attributes:
        trunk: Maps pixels (n, 3, height, width) to (n, D_pre).
        weight: (D, D_pre).
        bias: (D,), or None.
    """

    trunk: nn.Module
    weight: torch.Tensor
    bias: torch.Tensor | None

    def before(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode pixels (n, 3, height, width) as far as the projection: (n, D_pre), not normalised."""
        return _first(self.trunk(pixels))

    def project(self, before: torch.Tensor) -> torch.Tensor:
        """Map (n, D_pre) to the encoder's features (n, D), not normalised."""
        return functional.linear(before, self.weight, self.bias)

    def map_text(self, text_features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Map class prototypes to where the features before the projection are.

        As LIFT (Shi et al. 2024) initialises its head: the prototypes times the transposed projection, normalised. Up
        to a factor for each class, the product of such a prototype with a vector before the projection is the product
        of the prototype itself with the projected vector, less the bias where there is one.

        Args:
            text_features: float32 (C, D).

        Returns:
            float32 (C, D_pre), unit norm.
        """
        mapped = text_features @ self.weight.detach().float().cpu().numpy()
        return unit_norm(mapped)


@torch.inference_mode()
def split_projection(model: nn.Module, example: torch.Tensor, name: str) -> Projection:
    """Split an open_clip model's image encoder before its last step.

    That step is open_clip's own `proj` (vision transformers), or else the last linear layer (the attention pooling of
    ResNets; the head of timm towers). That nothing follows it is not taken for granted but tried on an example.

    Args:
        model: It is not changed; the parts share its tensors.
        example: Pixels (1, 3, height, width) on the model's device and of its type.
        name: The model's name for the error.

    Raises:
        UlfineError: The last step is not linear.
    """
    visual = model.visual
    assert isinstance(visual, nn.Module)
    shared = {id(tensor): tensor for tensor in chain(visual.parameters(), visual.buffers())}
    trunk = copy.deepcopy(visual, shared)
    linear = [(path, layer) for path, layer in visual.named_modules() if isinstance(layer, nn.Linear)]
    if isinstance(proj := getattr(visual, "proj", None), nn.Parameter):
        trunk.register_parameter("proj", None)
        projection = Projection(trunk, proj.T, None)
    elif linear:
        path, last = linear[-1]
        trunk.set_submodule(path, _same(last))
        projection = Projection(trunk, last.weight, last.bias)
    else:
        raise _not_linear(name)
    try:
        projected = projection.project(projection.before(example))
        expected = _first(model.encode_image(example))  # pyright: ignore
    # The shapes do not fit: the layer was somewhere inside.
    except RuntimeError as error:
        raise _not_linear(name) from error
    if projected.shape != expected.shape:
        raise _not_linear(name)
    if functional.cosine_similarity(projected.float(), expected.float()).min() < _SAME_DIRECTION:
        raise _not_linear(name)
    return projection


def _same(layer: nn.Linear) -> nn.Linear:
    """Return a layer that gives back what it is given, exactly.

    It is not nn.Identity, because open_clip's attention pooling does not call its last layer but reads its weights.
    """
    size = layer.in_features
    same = nn.Linear(size, size, device=layer.weight.device, dtype=layer.weight.dtype)
    nn.init.eye_(same.weight)
    nn.init.zeros_(same.bias)
    return same.requires_grad_(False)


def _first(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return the pooled features: CoCa's tower also gives its tokens."""
    return output[0] if isinstance(output, tuple) else output


def _not_linear(name: str) -> UlfineError:
    return UlfineError(
        f"the last step of {name} is not linear, so nothing comes before a projection: leave --pre-projection out"
    )
