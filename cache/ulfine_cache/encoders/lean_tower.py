"""Image encoders written so that they and their ONNX graphs run fast, with the same features.

What differs from open_clip's own vision transformer, which was written for training:

- Tokens stay rows of one matrix (batch * length, width), so every layer is a plain matrix product with its bias in it
  (Gemm). As it is, torch's attention swaps batch and length and back: twice as many transpositions.
- Query, key and value are three products. One product of three times the width has to be split again, which copies.
- The scale of the attention is in the query's weights.
- The last block computes the class token alone, where nothing else is read: 10 of that block's 12 products of weights
  and tokens are not needed, a fourteenth of all arithmetic in 12 layers.

On one core of an AMD EPYC (Zen 4) torch then encodes ViT-B/32 in bf16 1.12 times as fast, and onnxruntime 1.31 in fp32
1.1 to 1.25 times as fast as exported as it is. `docs/encoders.md` says what else was tried. Nine tenths of the time
that is left are matrix products, at the speed of the processor: only fewer bits would help.
"""

import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer


def lean(visual: nn.Module) -> nn.Module:
    """Rewrite an image encoder for speed where it is of a kind that is known here.

    Those are open_clip's vision transformers of the plain kind, and timm's convolutions with several branches in
    training that are one convolution later (FastViT, which is MobileCLIP's tower, and RepVGG and kin); timm adds up
    their branches.

    Args:
        visual: Maps normalised pixels to features; not changed, the parts that stay are shared. In float32, so that
            branches add up precisely.

    Returns:
        A module with the same inputs and outputs; `visual` itself where it is of another kind.
    """
    if _is_plain(visual):
        return LeanTransformer(cast("VisionTransformer", visual)).eval()
    if any(hasattr(module, "reparameterize") for module in visual.modules()):
        from timm.utils.model import reparameterize_model

        return reparameterize_model(visual).eval()
    return visual


class LeanTransformer(nn.Module):
    """Normalised pixels to features, as open_clip's `VisionTransformer`.

    Attributes:
        proj: (width, D), the last step; None leaves it out.
        wide: Whether that step is computed in float64: in float32 its rounding differs between batches of few images.
    """

    def __init__(self, visual: "VisionTransformer") -> None:
        super().__init__()
        blocks = cast("list[ResidualAttentionBlock]", list(visual.transformer.resblocks))
        self.class_only = visual.pool_type == "tok"
        self.blocks = nn.ModuleList(
            LeanBlock(block, class_only=self.class_only and block is blocks[-1]) for block in blocks
        )
        self.proj = visual.proj
        self.wide = False
        # What is before and after the blocks, without them: a weight that is held twice counts twice.
        self.ends = copy.copy(visual)
        self.ends._modules = {name: module for name, module in visual._modules.items() if name != "transformer"}
        self.ends._parameters = {name: value for name, value in visual._parameters.items() if name != "proj"}

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode (n, 3, H, W) to (n, D)."""
        tokens = self.ends._embeds(pixels)  # pyright: ignore[reportPrivateUsage]
        batch, length, width = tokens.shape
        rows = tokens.reshape(batch * length, width)
        for block in self.blocks:
            rows = block(rows, batch, length)
        kept = rows.reshape(batch, 1 if self.class_only else length, width)
        pooled, _ = self.ends._pool(kept)  # pyright: ignore[reportPrivateUsage]
        if self.proj is None:
            return pooled
        return (pooled.double() @ self.proj.double()).float() if self.wide else pooled @ self.proj


class LeanBlock(nn.Module):
    """One block on rows (batch * length, width)."""

    def __init__(self, block: "ResidualAttentionBlock", *, class_only: bool) -> None:
        super().__init__()
        self.class_only = class_only
        attention = block.attn
        self.heads, self.out_proj = attention.num_heads, attention.out_proj
        self.ln_1, self.ls_1, self.ln_2, self.mlp, self.ls_2 = block.ln_1, block.ls_1, block.ln_2, block.mlp, block.ls_2
        scale = attention.head_dim**-0.5
        for name, weight, bias, factor in zip(
            ("query", "key", "value"),
            cast(Tensor, attention.in_proj_weight).detach().chunk(3),
            cast(Tensor, attention.in_proj_bias).detach().chunk(3),
            (scale, 1.0, 1.0),
            strict=True,
        ):
            self.register_buffer(f"{name}_weight", weight * factor)
            self.register_buffer(f"{name}_bias", bias * factor)

    def forward(self, rows: Tensor, batch: int, length: int) -> Tensor:
        """Map (batch * length, width) to the same, or to (batch, width) where only the class token is wanted."""
        width = rows.shape[-1]
        normed = self.ln_1(rows)
        key = self._heads("key", normed, batch, length)
        value = self._heads("value", normed, batch, length)
        if self.class_only:
            rows = rows.reshape(batch, length, width)[:, 0]
            normed = normed.reshape(batch, length, width)[:, 0]
            length = 1
        query = self._heads("query", normed, batch, length)
        attended = _attend(query, key, value).transpose(1, 2).reshape(batch * length, width)
        rows = rows + self.ls_1(linear(attended, self.out_proj.weight, self.out_proj.bias))
        return rows + self.ls_2(self.mlp(self.ln_2(rows)))

    def _heads(self, name: str, rows: Tensor, batch: int, length: int) -> Tensor:
        """(batch, heads, length, width / heads) of the rows' queries, keys or values."""
        mapped = linear(rows, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias"))
        return mapped.reshape(batch, length, self.heads, -1).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention whose scale is in the query already: (batch, heads, length of the query, width of a head)."""
    if torch.compiler.is_exporting() or torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        # Written out: exported, torch's own would scale once more.
        return (query @ key.transpose(2, 3)).softmax(dim=-1) @ value
    return scaled_dot_product_attention(query, key, value, scale=1.0)


def _is_plain(visual: nn.Module) -> bool:
    """Whether every part is of the kind that is rewritten here; subclasses may compute something else."""
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    return (
        type(visual) is VisionTransformer
        and visual.attn_pool is None
        and visual.pool_type in ("tok", "avg")
        and not visual.output_tokens
        and visual.proj is not None
        and all(
            type(block) is ResidualAttentionBlock
            and not hasattr(block, "ln_1_kv")
            and type(block.attn) is nn.MultiheadAttention
            and getattr(block.attn, "in_proj_weight", None) is not None
            and getattr(block.attn, "in_proj_bias", None) is not None
            and block.attn.bias_k is None
            and not block.attn.add_zero_attn
            for block in visual.transformer.resblocks
        )
    )
