"""What the files beside a checkpoint say about it: open_clip's, transformers' and timm's own descriptions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from ulfine_cache.encoders.checkpoints.model_sizes import configured_sizes
from ulfine_cache.errors import UlfineError

OPEN_CLIP: Final = "open_clip_config.json"
TRANSFORMERS: Final = "config.json"
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")
_RESAMPLES = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which transformers writes."""


@dataclass(frozen=True)
class Beside:
    """What is known about a checkpoint from the files in its folder.

    Attributes:
        pictures: How pictures are made, in keys of `Preprocess.from_open_clip`; None where nothing says it.
        pictures_from: The file that says it.
        quick_gelu: Whether the model computes with QuickGELU; None where nothing says it.
        quick_gelu_from: The file that says it.
    """

    pictures: Mapping[str, Any] | None = None
    pictures_from: str = ""
    quick_gelu: bool | None = None
    quick_gelu_from: str = ""


def read_beside(file: Path, config: Mapping[str, Any]) -> Beside:
    """Read what lies beside a checkpoint of an open_clip model.

    A description of another model, as a folder of downloads may hold one, counts as none.

    Args:
        file: The checkpoint.
        config: open_clip's configuration of the model.

    Raises:
        UlfineError: A description is there and cannot be used.
    """
    own = _read(file.with_name(OPEN_CLIP))
    model = _part(own, "model_cfg")
    if model and configured_sizes(model) == configured_sizes(config):
        pictures = _part(own, "preprocess_cfg") or None
        return Beside(pictures, OPEN_CLIP, bool(model.get("quick_gelu", False)), OPEN_CLIP)
    model = _read(file.with_name(TRANSFORMERS))
    if model.get("model_type") != "clip" or not _is_of(model, config):
        return Beside()
    # transformers leaves out what is its default.
    activations = {_part(model, tower).get("hidden_act", "quick_gelu") for tower in ("vision_config", "text_config")}
    if not activations <= {"quick_gelu", "gelu"} or len(activations) > 1:
        raise UlfineError(f"{file.with_name(TRANSFORMERS)} asks for {' and '.join(sorted(activations))} as activation, "
                          "which no model of open_clip has")  # fmt: skip
    for name in _PROCESSORS:
        processor = _read(file.with_name(name))
        processor = _part(processor, "image_processor") or processor
        if "image_mean" in processor:
            pictures = _from_processor(processor, file.with_name(name))
            return Beside(pictures, name, "quick_gelu" in activations, TRANSFORMERS)
    return Beside(None, "", "quick_gelu" in activations, TRANSFORMERS)


def timm_tag_beside(file: Path, name: str) -> str:
    """The tag of a timm model that the ``config.json`` beside its checkpoint names, or ""."""
    config = _read(file.with_name(TRANSFORMERS))
    return str(_part(config, "pretrained_cfg").get("tag", "")) if config.get("architecture") == name else ""


def _is_of(model: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    vision, text = _part(model, "vision_config"), _part(model, "text_config")
    sizes = configured_sizes(config)
    # transformers leaves out what is as in ViT-B/32.
    said = {
        "vision": (vision.get("num_hidden_layers", 12), vision.get("hidden_size", 768), vision.get("patch_size", 32)),
        "text": text.get("hidden_size", 512),
        "embedding": model.get("projection_dim", 512),
    }
    return all(sizes[key] == value for key, value in said.items())


def _from_processor(processor: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Translate what transformers' CLIPImageProcessor is given."""
    interpolation = _RESAMPLES.get(processor.get("resample", 3))
    size, crop = processor.get("size", 224), processor.get("crop_size", 224)
    edge = size.get("shortest_edge") if isinstance(size, Mapping) else size
    if interpolation is None or not processor.get("do_rescale", True) or not processor.get("do_resize", True):
        raise UlfineError(
            f"{path} makes pictures in a way that is not known here (resample {processor.get('resample')}): say it "
            "with --mean, --std and --interpolation, and move that file elsewhere"
        )
    normalised = processor.get("do_normalize", True)
    pictures = {
        "mean": processor["image_mean"] if normalised else 0,
        "std": processor.get("image_std", 1) if normalised else 1,
        "interpolation": interpolation,
        "resize_mode": "squash" if edge is None else "shortest",
    }
    side = crop.get("height") if isinstance(crop, Mapping) else crop
    if edge is not None and side and processor.get("do_center_crop", True) and edge != side:
        pictures["enlarged"] = edge / side
    return pictures


def _part(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = content.get(key)
    return cast("Mapping[str, Any]", part) if isinstance(part, Mapping) else {}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UlfineError(
            f"{path} cannot be read, though it should say how pictures are made: fetch it again, or move it elsewhere"
        ) from error
    return content if isinstance(content, dict) else {}
