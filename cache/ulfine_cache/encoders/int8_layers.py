"""Layers that multiply 8-bit integers, without calibration: every row of activations has a scale of its own.

    x W' = s_x s_w (q_x q_w') + rounding      s_x = max |x| / 127 of a row, s_w = max |w| / 127 of an output

Sums of integers are exact and a row's scale depends on that row alone, so the features of an image do not depend on
what else is in its batch, on the number of threads or on which images came first. Everything between the products
stays in fp32.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

_LARGEST = 127.0
_LEAST = 1e-20
"""Scale of a row of zeros, which may not be divided by zero."""
_ROWS = 256
"""Rows that are worked on at once: with 3,072 columns of fp32 they stay in a core's caches between the steps. Measured
on two cores of an AMD EPYC (Zen 4) with 200 to 1,600 rows."""


class Int8Linear(nn.Module):
    """A linear layer: fp32 (..., K) to fp32 (..., M), multiplied as 8-bit integers.

    Args:
        weight: float32 (M, K).
        bias: float32 (M,), or None.
        shifted: Take the middle of its values off every row first, and add what the weights make of it afterwards: one
            bit more for what is never negative, as after a ReLU, for one pass over the result.
    """

    weight_columns: Tensor
    scale: Tensor
    bias: Tensor
    sums: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, *, shifted: bool = False) -> None:
        super().__init__()
        weight = weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp_min(_LEAST) / _LARGEST
        # Weights that are no numbers give features that are none, which the encoder reports by the weights' names.
        scale = torch.where(weight.isfinite().all(dim=1), scale, torch.nan)
        quantised = (weight / scale[:, None]).nan_to_num().round().to(torch.int8)
        self.register_buffer("weight_columns", quantised.T)
        self.register_buffer("scale", scale)
        self.shifted = shifted
        self.register_buffer("sums", quantised.sum(dim=1) * scale)
        self.register_buffer("bias", torch.zeros_like(scale) if bias is None else bias.detach().float())

    def forward(self, values: Tensor) -> Tensor:
        """Map (..., K) to (..., M)."""
        rows = values.reshape(-1, values.shape[-1])
        mapped = [self._product(part) for part in rows.split(_ROWS)]
        whole = mapped[0] if len(mapped) == 1 else torch.cat(mapped)
        return whole.reshape(*values.shape[:-1], -1)

    def _product(self, rows: Tensor) -> Tensor:
        offset = self.bias
        if self.shifted:
            middle = rows.amin(dim=1, keepdim=True).add_(rows.amax(dim=1, keepdim=True)).div_(2)
            rows, offset = rows - middle, torch.addcmul(self.bias, middle, self.sums)
        # Not vector_norm(inf), which takes fifteen times as long.
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_min_(_LEAST).div_(_LARGEST)
        # NaN stays in the scale, and so in the result.
        quantised = torch.mul(rows, scale.reciprocal()).round_().to(torch.int8)
        product = torch._int_mm(quantised, self.weight_columns)  # pyright: ignore[reportPrivateUsage]
        return torch.addcmul(offset, product.float().mul_(self.scale), scale)


class Int8Convolution(nn.Module):
    """A convolution as a linear layer on the windows that it sees.

    Args:
        layer: One that `is_plain` approves.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.kernel, self.step = layer.kernel_size, layer.stride
        down, right = cast("tuple[int, int]", layer.padding)
        self.margins = (0, 0, right, right, down, down)
        # Channels come last in a window, so that cutting it out copies whole runs of memory.
        self.product = Int8Linear(layer.weight.permute(0, 2, 3, 1).flatten(1), layer.bias, shifted=True)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (n, K, H, W) to (n, M, H', W'), with the channels last in memory."""
        rows = pixels.permute(0, 2, 3, 1)
        if any(self.margins):
            rows = functional.pad(rows, self.margins)
        if self.kernel == (1, 1):
            windows = rows[:, :: self.step[0], :: self.step[1]]
        else:
            cut = rows.unfold(1, self.kernel[0], self.step[0]).unfold(2, self.kernel[1], self.step[1])
            windows = cut.permute(0, 1, 2, 4, 5, 3).flatten(3)
        return self.product(windows).permute(0, 3, 1, 2)


def is_plain(layer: nn.Module) -> bool:
    """Whether a layer is a convolution that `Int8Convolution` can be."""
    return (
        type(layer) is nn.Conv2d
        and layer.groups == 1
        and not isinstance(layer.padding, str)
        and layer.padding_mode == "zeros"
        and tuple(layer.dilation) == (1, 1)
    )
