"""`--precision int8`: an image encoder whose large products multiply integers; CPUs with VNNI only.

VNNI multiplies four times as many 8-bit integers in a cycle as fp32 numbers, twice as many as bf16. What is not a large
product stays in fp32. `docs/precision.md` says what it gains and costs.
"""

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from ulfine_cache.encoders.int8_layers import Int8Convolution, Int8Linear, is_plain
from ulfine_cache.encoders.lean_tower import LeanBlock, LeanTransformer
from ulfine_cache.errors import UlfineError, UsageError

INT8 = "int8"

_LARGE = 32
"""Inputs and outputs from which on a product is worth more than the steps around it."""
_ENOUGH = 0.5
"""Share of an encoder's multiplications that has to be in such products."""
_TOKENS = 256
"""Rows of tokens that go through a block at once: whole images, at least one. More leave a core's caches."""
_DROWNED = 1e-5
"""Of the largest channel: smaller ones are taken for so large, since channels of zeros have no scale of their own."""


def check_int8(device: torch.device) -> None:
    """Refuse a device that does not multiply 8-bit integers here.

    Raises:
        UsageError: It is no CPU.
        UlfineError: The CPU has no VNNI instructions.
    """
    if device.type != "cpu":
        raise UsageError(f"precision int8 is for CPUs, not for {device}: give --precision auto, or --device cpu")
    if not multiplies_int8(device):
        raise UlfineError(
            "precision int8 needs a CPU with VNNI instructions (Intel since 2019, AMD since 2022), which this one "
            "lacks: give --precision auto"
        )


def multiplies_int8(device: torch.device) -> bool:
    """Whether `--precision int8` works on a device."""
    # Private to torch, so its absence must not matter.
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_vnni_supported", lambda: False)())


@torch.inference_mode()
def to_int8(visual: nn.Module, example: Tensor, name: str) -> nn.Module:
    """Rewrite an image encoder so that its large products multiply integers.

    Args:
        visual: As `ulfine_cache.encoders.lean_tower.lean` gives it, in float32. Its layers are exchanged in place.
        example: Pixels (1, 3, height, width), normalised.
        name: The model's name for the error.

    Returns:
        A module with the same inputs and outputs.

    Raises:
        UlfineError: Less than half of the multiplications would be those of integers.
    """
    several: set[nn.Module] = set()
    hooks = [
        layer.register_forward_hook(lambda layer, _, output: several.add(layer) if _rows(layer, output) > 1 else None)
        for layer in visual.modules()
        if isinstance(layer, (nn.Linear, nn.Conv2d))
    ]
    before = _multiplications(visual, example)
    for hook in hooks:
        hook.remove()
    if isinstance(visual, LeanTransformer):
        visual.wide = True
        visual.blocks = nn.ModuleList(_Int8Block(cast(LeanBlock, block)) for block in visual.blocks)
    _exchange(visual, several)
    try:
        share = 1 - _multiplications(visual, example) / max(1, before)
    # Towers that read the weights of their layers instead of calling them.
    except AttributeError as error:
        raise UlfineError(f"{name} cannot be encoded in int8 ({error}): give --precision auto") from error
    if share < _ENOUGH:
        raise UlfineError(
            f"{name} cannot be encoded in int8: only {share:.0%} of its multiplications are in plain linear layers and "
            "convolutions, which int8 is for: give --precision auto"
        )
    return visual


def _multiplications(visual: nn.Module, example: Tensor) -> int:
    """Count those of floats in one image's layers."""
    with FlopCounterMode(display=False) as counter:
        visual(example)
    return counter.get_total_flops()


def _rows(layer: nn.Module, output: Tensor) -> int:
    width = layer.out_features if isinstance(layer, nn.Linear) else cast(nn.Conv2d, layer).out_channels
    return output.numel() // width


def _exchange(module: nn.Module, several: set[nn.Module]) -> None:
    """Exchange the large layers among `several`.

    The others see one row of an image: a projection or a head, which costs next to nothing and decides the feature.
    """
    for name, child in module.named_children():
        if isinstance(child, _Int8Block):
            continue
        # Subclasses may compute something else, or be read by a module that does not call them.
        if child not in several:
            _exchange(child, several)
        elif type(child) is nn.Linear and min(child.in_features, child.out_features) >= _LARGE:
            setattr(module, name, Int8Linear(child.weight, child.bias))
        elif is_plain(child) and min(cast(nn.Conv2d, child).weight.flatten(1).shape) >= _LARGE:
            setattr(module, name, Int8Convolution(cast(nn.Conv2d, child)))


class _Int8Block(nn.Module):
    """A block of `LeanTransformer`: the same, but for its products."""

    def __init__(self, block: LeanBlock) -> None:
        super().__init__()
        self.class_only, self.heads = block.class_only, block.heads
        first, self.activation, second = cast("tuple[nn.Linear, nn.Module, nn.Linear]", tuple(block.mlp))
        self.ls_1, self.ls_2 = block.ls_1, block.ls_2
        weights = [cast(Tensor, getattr(block, f"{name}_weight")) for name in ("query", "key", "value")]
        biases = [cast(Tensor, getattr(block, f"{name}_bias")) for name in ("query", "key", "value")]
        # Rows are quantised once for all three; the query of the last block is that of the class token alone.
        self.ln_1, whole = _evened(block.ln_1, torch.cat(weights))
        width = len(weights[0])
        if block.class_only:
            self.query = Int8Linear(whole[:width], biases[0])
            self.rest = Int8Linear(whole[width:], torch.cat(biases[1:]))
        else:
            self.whole = Int8Linear(whole, torch.cat(biases))
        self.out = Int8Linear(block.out_proj.weight, block.out_proj.bias)
        self.ln_2, weight = _evened(block.ln_2, first.weight)
        self.first, self.second = Int8Linear(weight, first.bias), Int8Linear(second.weight, second.bias)

    def forward(self, rows: Tensor, batch: int, length: int) -> Tensor:
        """Map (batch * length, width) to the same, or to (batch, width) where only the class token is wanted."""
        images = max(1, _TOKENS // length)
        parts = [self._images(part, len(part) // length, length) for part in rows.split(images * length)]
        return torch.cat(parts)

    def _images(self, rows: Tensor, batch: int, length: int) -> Tensor:
        width = rows.shape[-1]
        normed = self.ln_1(rows)
        if self.class_only:
            key, value = self.rest(normed).chunk(2, dim=-1)
            query = self.query(normed.reshape(batch, length, width)[:, 0])
            rows = rows.reshape(batch, length, width)[:, 0]
        else:
            query, key, value = self.whole(normed).chunk(3, dim=-1)
        attended = scaled_dot_product_attention(
            *(part.reshape(batch, -1, self.heads, width // self.heads).transpose(1, 2) for part in (query, key, value)),
            scale=1.0,
        )
        rows = rows + self.ls_1(self.out(attended.transpose(1, 2).reshape(len(rows), width)))
        return rows + self.ls_2(self.second(self.activation(self.first(self.ln_2(rows)))))


def _evened(norm: nn.Module, weight: Tensor) -> tuple[nn.Module, Tensor]:
    """Give a normalisation's channels more even sizes, and the weights (M, K) that read them the difference.

    A row has one scale, so a few large channels would take the bits of all others. After a normalisation the size of
    channel j is near sqrt(g_j^2 + b_j^2), its factor and shift: no picture is needed to know it. Half of the
    differences, on a log scale, go into the weights, as SmoothQuant does (Xiao et al. 2023, equation 4).
    """
    if not isinstance(norm, nn.LayerNorm) or len(list(norm.parameters())) < 2:
        return norm, weight
    columns = torch.hypot(norm.weight, norm.bias)
    rows = weight.abs().amax(dim=0)
    scale = (_spread(columns) / _spread(rows)).sqrt()
    evened = copy.deepcopy(norm)
    evened.weight = nn.Parameter(norm.weight / scale, requires_grad=False)
    evened.bias = nn.Parameter(norm.bias / scale, requires_grad=False)
    return evened, weight * scale


def _spread(sizes: Tensor) -> Tensor:
    return sizes.clamp_min(_DROWNED * float(sizes.max())).clamp_min(torch.finfo(sizes.dtype).tiny)
