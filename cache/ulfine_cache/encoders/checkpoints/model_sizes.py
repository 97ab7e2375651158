"""The sizes of a CLIP, from its weights and from a configuration of open_clip, so that they can be compared."""

import re
from collections.abc import Mapping
from typing import Any

from ulfine_cache.encoders.checkpoints.checkpoint_layout import Tensors


def likely_names(tensors: Tensors) -> list[str]:
    """Names of open_clip's models whose sizes are those of some weights."""
    import open_clip

    sizes = {key: value for key, value in weight_sizes(tensors).items() if value is not None}
    if "vision" not in sizes:
        return []
    names: list[str] = []
    for name in open_clip.list_models():
        known = configured_sizes(open_clip.get_model_config(name) or {})
        # Weights do not tell the activation.
        if all(known[key] == value for key, value in sizes.items()) and name.removesuffix("-quickgelu") not in names:
            names.append(name)
    return names


def weight_sizes(tensors: Tensors) -> dict[str, Any]:
    """Sizes of a model by the shapes of its weights in open_clip's layout.

    Returns:
        vision (layers, width and, of a transformer, patch size), image (pixels a side), text (width), words (of the
        tokenizer), embedding (width D), decoder (bool); None where the weights do not say it.
    """

    def shape(*names: str) -> tuple[int, ...] | None:
        return next((tuple(tensors[name].shape) for name in names if name in tensors), None)

    def layers(prefix: str) -> int:
        return len({match[1] for name in tensors if (match := re.match(rf"{re.escape(prefix)}(\d+)\.", name))})

    conv, positions = shape("visual.conv1.weight"), shape("visual.positional_embedding")
    pooled = shape("visual.attnpool.positional_embedding")
    vision = image = None
    if conv and pooled:
        vision = (tuple(layers(f"visual.layer{stage}.") for stage in (1, 2, 3, 4)), 2 * conv[0])
        image = 32 * round((pooled[0] - 1) ** 0.5)
    elif conv and positions:
        vision = (layers("visual.transformer.resblocks."), conv[0], conv[-1])
        image = conv[-1] * round((positions[0] - 1) ** 0.5)
    text = shape("ln_final.weight", "text.ln_final.weight")
    words = shape("token_embedding.weight", "text.token_embedding.weight")
    embedding = shape("text_projection", "text.text_projection")
    return {
        "vision": vision,
        "image": image,
        "text": text[0] if text else None,
        "words": words[0] if words else None,
        "embedding": embedding[-1] if embedding else None,
        "decoder": any(name.startswith("text_decoder.") for name in tensors),
    }


def configured_sizes(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same sizes by open_clip's configuration of a model; vision is the name of a timm model where it is one."""
    vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    layers, width = vision.get("layers", 12), vision.get("width", 768)
    size = (tuple(layers), width) if isinstance(layers, list) else (layers, width, vision.get("patch_size", 16))
    return {
        "vision": vision.get("timm_model_name", size),
        "image": vision.get("image_size", 224),
        "text": text.get("hf_model_name", text.get("width", 512)),
        "words": text.get("vocab_size", 49408),
        "embedding": config.get("embed_dim"),
        "decoder": "multimodal_cfg" in config,
    }
