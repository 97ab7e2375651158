"""Which encoders this machine can make, from the configurations of open_clip and timm: no weights, no network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ulfine_cache.encoders.model_libraries import quiet
from ulfine_cache.encoders.own_encoder import KIND
from ulfine_cache.tiny import CONFIG_FILE, MODEL_NAME

_MOST_MEASURED = 40
"""Models of timm whose width is asked for; each takes a moment, and a list of a thousand is not read for its widths."""


@dataclass(frozen=True)
class Listed:
    """One encoder.

    Attributes:
        name: As ``--model`` takes it.
        weights: What ``--pretrained`` takes beside it; empty where the name says it all, or where none are published.
        input: Height and width in pixels; None where the configuration does not say.
        features: Width D; None where it would have to be made to know it.
        text: Whether it encodes text.
        licence: Of its weights, as the library records it, or ``"unknown"``.
    """

    name: str
    weights: tuple[str, ...]
    input: tuple[int, int] | None
    features: int | None
    text: bool
    licence: str = "unknown"


def list_encoders(word: str = "") -> list[dict[str, Any]]:
    """List encoders whose name or weights hold a word, whatever its case.

    Args:
        word: Part of a name; several, separated by blanks, must all be in it. Empty lists all.

    Returns:
        `Listed` as dicts: ``builtin:tiny``, those of installed packages, of which nothing but the name is known without
        running them, then open_clip's and timm's in alphabetical order.
    """
    with quiet():
        return [asdict(found) for found in (*_builtin(word), *_own(word), *_of_open_clip(word), *_of_timm(word))]


def _holds(text: str, word: str) -> bool:
    return all(part in text.lower() for part in word.lower().split())


def _builtin(word: str) -> list[Listed]:
    if not _holds("builtin:tiny", word):
        return []
    config = json.loads(CONFIG_FILE.read_text("utf-8"))
    return [Listed("builtin:tiny", (), _square(config), int(config["embed_dim"]), text=True, licence="apache-2.0")]


def _own(word: str) -> list[Listed]:
    return [Listed(name, (), None, None, text=False) for name in KIND.installed() if _holds(name, word)]


def _of_open_clip(word: str) -> list[Listed]:
    import open_clip

    found: list[Listed] = []
    for name in sorted(open_clip.list_models(), key=str.lower):
        tags = tuple(open_clip.list_pretrained_tags_by_model(name))
        # The embedded model is open_clip's too once it was made.
        if name == MODEL_NAME or not _holds(" ".join([name, *tags]), word):
            continue
        config: dict[str, Any] = open_clip.get_model_config(name) or {}
        found.append(Listed(name, tags, _square(config), config.get("embed_dim"), text=True))
    return found


def _square(config: dict[str, Any]) -> tuple[int, int] | None:
    size = config.get("vision_cfg", {}).get("image_size", 224)
    if isinstance(size, int):
        return (size, size)
    return (int(size[0]), int(size[1])) if isinstance(size, list | tuple) and len(size) == 2 else None


def _of_timm(word: str) -> list[Listed]:
    import timm

    names = [name for name in timm.list_models(pretrained=True) if _holds(f"timm:{name}", word)]
    measured = len(names) <= _MOST_MEASURED
    found: list[Listed] = []
    for name in names:
        config = timm.get_pretrained_cfg(name)
        size = None if config is None else config.input_size
        licence = "unknown" if config is None else config.license or "unknown"
        width = _width(name) if measured else None
        found.append(Listed(f"timm:{name}", (), None if size is None else (size[1], size[2]), width, False, licence))
    return found


def _width(name: str) -> int | None:
    """Feature width of a model of timm, made without memory for its weights; None where it cannot be made so."""
    import timm
    import torch

    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False, num_classes=0)
    # Some models compute with their weights while they are made, and each fails in its own way.
    except Exception:
        return None
    width: Any = getattr(model, "head_hidden_size", None) or model.num_features
    return int(width)
