"""Where in a checkpoint the weights of a model lie, and under which names: one table of rules for all of them."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

Tensors = dict[str, torch.Tensor]

_WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.")
"""What torch.compile, FSDP, checkpointed layers and DeepSpeed put into names, at any place."""
_AVERAGED = ("ema", "teacher")
"""Words in the names of what training averaged: it is what its authors evaluate, and what timm takes first."""
_NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size", "position_ids")
"""Numbers that older files keep beside the weights."""

_TRANSFORMERS = (
    (r"^text_model\.embeddings\.token_embedding\.weight$", "token_embedding.weight"),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^text_projection\.weight$", "text_projection"),
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.weight$", "visual.conv1.weight"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    # The typing error is transformers' own.
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^visual_projection\.weight$", "visual.proj"),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.self_attn\.([qkv])_proj\.(weight|bias)$", r".attn.in_proj_\2.\1"),
)
"""Names of a CLIPModel of transformers and what open_clip calls the same; all that match are applied, in this order."""


@dataclass(frozen=True)
class Found:
    """Weights that a checkpoint holds.

    Attributes:
        place: Where they lie in it, such as ``state_dict: model.``, or "" where they are all of it.
        tensors: They, by their names without what lies before.
    """

    place: str
    tensors: Tensors


def find_weights(checkpoint: Mapping[str, Any], tops: Collection[str]) -> list[Found]:
    """Find what may be the weights of a model, in dicts of any depth and behind any prefix.

    Args:
        checkpoint: What `read_checkpoint` gave.
        tops: First parts of the names that the model's weights have in their own layout, such as ``visual``.

    Returns:
        All that may be meant, averaged weights first, then in the order of the file. What is not behind the same
        prefix, such as a loss beside the model, is left out.

    Example:
        >>> weights = {"model.visual.proj": torch.ones(1), "loss.scale": torch.ones(1)}
        >>> [(found.place, list(found.tensors)) for found in find_weights({"state_dict": weights}, {"visual"})]
        [('state_dict: model.', ['visual.proj'])]
    """
    found: list[Found] = []
    for place, tensors in _dicts_of_tensors(checkpoint, ""):
        plain = {_unwrapped(name): tensor for name, tensor in tensors.items()}
        for prefix in dict.fromkeys(_prefix(name, tops) for name in plain):
            if prefix is None:
                continue
            own = {name.removeprefix(prefix): tensor for name, tensor in plain.items() if name.startswith(prefix)}
            own = {name: tensor for name, tensor in own.items() if name.rpartition(".")[2] not in _NO_WEIGHTS}
            found.append(Found(": ".join(filter(None, (place, prefix))), own))
    return sorted(found, key=lambda one: not any(word in one.place.lower() for word in _AVERAGED))


def all_tensors(checkpoint: Mapping[str, Any]) -> Tensors:
    """All tensors of a checkpoint by their last names, wherever they lie."""
    return {name: tensor for _, tensors in _dicts_of_tensors(checkpoint, "") for name, tensor in tensors.items()}


def from_transformers(tensors: Tensors) -> Tensors:
    """Give the weights of a CLIPModel of transformers the names and shapes of open_clip; others stay as they are.

    transformers keeps queries, keys and values apart and its projections as linear layers, (out, in).
    """
    if not any(name.startswith("vision_model.encoder.layers.") for name in tensors):
        return tensors
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        for pattern, new in _TRANSFORMERS:
            name = re.sub(pattern, new, name)
        renamed[name] = tensor.T if name in ("text_projection", "visual.proj") else tensor
    for name in [name for name in renamed if name.endswith(".q")]:
        whole = name.removesuffix(".q")
        parts = [renamed.pop(f"{whole}.{part}", None) for part in "qkv"]
        if not any(part is None for part in parts):
            renamed[whole] = torch.cat([part for part in parts if part is not None])
    return renamed


def _dicts_of_tensors(content: Mapping[Any, Any], place: str) -> Iterator[tuple[str, Tensors]]:
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor) and type(name) is str}
    if tensors:
        yield place, tensors
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _dicts_of_tensors(value, f"{place}.{name}" if place else str(name))


def _unwrapped(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name


def _prefix(name: str, tops: Collection[str]) -> str | None:
    """What stands before the first part of a name that is one of `tops`, or None where there is no such part."""
    parts = name.split(".")
    for place, part in enumerate(parts):
        if part in tops:
            return "".join(f"{before}." for before in parts[:place])
    return None
