"""Encoders from timm: image towers without text, such as DINOv2, behind the face of an open_clip model."""

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ulfine_cache.encoders.checkpoints.checkpoint_file import read_checkpoint
from ulfine_cache.encoders.checkpoints.checkpoint_layout import find_weights
from ulfine_cache.encoders.checkpoints.downloaded import damaged_download
from ulfine_cache.encoders.checkpoints.files_beside import timm_tag_beside
from ulfine_cache.encoders.model_libraries import nearest, quiet, without_waiting
from ulfine_cache.encoders.picture_choice import FIELDS, PictureOptions, in_words, shared
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.progress import Progress

PREFIX = "timm:"
_UNSAID = ("", "openai")
"""`pretrained` where the user did not say anything: the default is a tag of open_clip's."""


class TimmImageModel(nn.Module):
    """A timm model without its classifier; it has the image half of open_clip's interface.

    Args:
        trunk: Maps float32 (n, 3, height, width) to pooled features (n, D).
        preprocess_cfg: Keys as `Preprocess.from_open_clip` takes them.
    """

    def __init__(self, trunk: nn.Module, preprocess_cfg: dict[str, Any]) -> None:
        super().__init__()
        self.visual = trunk
        self.visual.preprocess_cfg = preprocess_cfg  # pyright: ignore

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode (n, 3, height, width) to (n, D)."""
        return self.visual(pixels)


def load_timm(
    model: str, pretrained: str, *, pictures: PictureOptions | None = None, progress: Progress
) -> tuple[TimmImageModel, str]:
    """Load an image tower of timm in fp32 on the CPU, without its classifier.

    Args:
        model: "timm:NAME" or "timm:NAME.TAG", such as "timm:vit_small_patch14_dinov2.lvd142m". The tag says how
            pictures are preprocessed and, if `pretrained` is no file, which weights are downloaded.
        pretrained: A local checkpoint (.safetensors, or a state dict as .pt), or a tag where the name has none.
        pictures: What is asked for about pictures, see `load_model`.
        progress: Receives notes.

    Returns:
        The model, and where its weights came from: the absolute path of the file, the tag, or "" where the model's name
        says it all.

    Raises:
        UsageError: Model or tag are unknown, or nothing says how pictures are made.
        UlfineError: The weights cannot be had or do not fit.

    Example:
        >>> load_timm("timm:resnet18", "resnet18.safetensors", progress=Silent())  # doctest: +SKIP
    """
    import timm

    name, _, tag = model.removeprefix(PREFIX).partition(".")
    if not timm.is_model(name):
        raise UsageError(f"no model {model!r}: {nearest(name, timm.list_models())} (names of timm, after {PREFIX})")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{name}.*")]
    file = Path(pretrained).expanduser()
    is_file = bool(pretrained) and file.is_file()
    if not is_file and (os.sep in pretrained or file.suffix):
        raise UlfineError(f"no checkpoint file {pretrained}: give a file, or a tag ({nearest(pretrained, tags)})")
    if tag and tag not in tags:
        raise UsageError(f"{PREFIX}{name} has no weights {tag!r}: {nearest(tag, tags)}")
    if pictures is not None and pictures.tag is not None:
        raise UsageError(f"--preprocess is for open_clip's models: --model {PREFIX}{name}.TAG says the same of timm's")
    if is_file:
        trunk = _trunk(f"{name}.{tag}" if tag else name, pretrained=False)
        if pictures is not None:
            why = f"as for {name}.{tag}" if tag else _shared_by_all(name, tags, file, pictures)
            progress.note(f"pictures: {_pictures_in_words(trunk, pictures)} ({why})")
        _load_file(trunk, model, file, progress)
        found = _with_fields(with_config(trunk), pictures)
        return found, str(file.resolve())
    if tag and pretrained not in (*_UNSAID, tag):
        raise UsageError(f"{model} already says which weights: --pretrained takes a checkpoint file here")
    wanted = tag or pretrained
    if wanted not in tags:
        advice = nearest(wanted, tags) if tags else "timm has none for it, give --pretrained a checkpoint file"
        raise UsageError(f"{model} has no weights {wanted!r} and there is no such file: {advice}")
    try:
        trunk = _trunk(f"{name}.{wanted}", pretrained=True)
    # timm, torch, huggingface_hub and the network each have errors of their own; all mean "no weights".
    except Exception as error:
        cfg = timm.get_pretrained_cfg(f"{name}.{wanted}")
        if damaged := damaged_download(str(getattr(cfg, "hf_hub_id", None) or "")):
            raise UlfineError(
                f"the weights {wanted} of {PREFIX}{name} were downloaded before, and {damaged}"
            ) from error
        raise UlfineError(
            f"the weights {wanted} of {PREFIX}{name} are not on this machine and cannot be downloaded: fetch "
            f"{_location(f'{name}.{wanted}')} elsewhere and give --model {PREFIX}{name}.{wanted} --pretrained FILE"
        ) from error
    return _with_fields(with_config(trunk), pictures), "" if tag else wanted


def data_config_as_open_clip(config: Mapping[str, Any]) -> dict[str, Any]:
    """Translate timm's data config into keys of `Preprocess.from_open_clip`.

    Together they equal `timm.data.create_transform(**config, is_training=False)`.

    Args:
        config: Keys input_size, interpolation, mean, std, crop_pct, crop_mode of `timm.data.resolve_model_data_config`.

    Raises:
        UlfineError: The model does not take RGB pictures, or timm makes them in a way that is not known here.
    """
    channels, height, width = config["input_size"]
    modes = {"center": "shortest", "squash": "squash"}
    if channels != 3 or config["crop_mode"] not in modes:
        raise UlfineError(
            f"the model takes {channels} channels, crop mode {config['crop_mode']!r}: only RGB with the crop modes "
            f"{' and '.join(modes)} is supported, choose another model"
        )
    translated = {
        "size": (height, width),
        "resize": tuple(math.floor(side / config["crop_pct"]) for side in (height, width)),
        "mean": config["mean"],
        "std": config["std"],
        "interpolation": config["interpolation"],
        "resize_mode": modes[config["crop_mode"]],
    }
    try:
        Preprocess.from_open_clip(translated)
    except ValueError as error:
        raise UlfineError(f"the model cannot be used: {error}") from error
    return translated


def _shared_by_all(name: str, tags: list[str], file: Path, asked: PictureOptions) -> str:
    """Who says how pictures are made for weights from a file of no known tag.

    Raises:
        UsageError: The tags differ, and nothing else says it.
    """
    if not tags:
        return f"timm's default: it knows no weights of {name}"
    beside = timm_tag_beside(file, name)
    hint = f"--model {PREFIX}{name}.{beside} (config.json beside it says so)" if beside in tags else (
        f"--model {PREFIX}{name}.TAG with the one that the file is of or was trained from"
    )  # fmt: skip
    said = {tag: _pictures_of_tag(name, tag) for tag in tags}
    shared(f"{PREFIX}{name}", said, asked.fields, hint, ("size", "resize", *FIELDS))
    return f"all weights of {name} share it"


def _pictures_in_words(trunk: nn.Module, asked: PictureOptions) -> str:
    pictures = _with_fields(with_config(trunk), asked).visual.preprocess_cfg
    return in_words({field: pictures[field] for field in ("size", "resize", *FIELDS)})  # pyright: ignore


def _pictures_of_tag(name: str, tag: str) -> dict[str, Any]:
    import timm
    from timm.data.config import resolve_data_config

    cfg = timm.get_pretrained_cfg(f"{name}.{tag}")
    return data_config_as_open_clip(resolve_data_config(pretrained_cfg=cfg.to_dict() if cfg else {}))


def _with_fields(model: TimmImageModel, asked: PictureOptions | None) -> TimmImageModel:
    if asked is not None:
        model.visual.preprocess_cfg = model.visual.preprocess_cfg | asked.fields  # pyright: ignore
    return model


def _trunk(name: str, *, pretrained: bool) -> nn.Module:
    import timm

    with quiet(), without_waiting(needed=pretrained):
        return timm.create_model(name, pretrained=pretrained, num_classes=0)


def with_config(trunk: nn.Module) -> TimmImageModel:
    """Give a timm model that has no classifier the face of an open_clip model, with its own preprocessing."""
    from timm.data.config import resolve_model_data_config

    return TimmImageModel(trunk, data_config_as_open_clip(resolve_model_data_config(trunk)))


def _location(name: str) -> str:
    import timm

    cfg = timm.get_pretrained_cfg(name)
    if cfg is not None and cfg.hf_hub_id:
        return f"model.safetensors from https://huggingface.co/{cfg.hf_hub_id}"
    return str(getattr(cfg, "url", None) or "them")


def _load_file(trunk: nn.Module, model: str, file: Path, progress: Progress) -> None:
    """Load a checkpoint, with or without a classifier; nothing of the model may be left as it was drawn at random."""
    tops = {name.partition(".")[0] for name in trunk.state_dict()}
    checkpoint = read_checkpoint(file)
    found = find_weights(checkpoint, tops) or find_weights(checkpoint, ("visual",))
    if not found:
        raise UlfineError(f"{file} does not fit the model {model}: it holds none of its tensors, such as {min(tops)}")
    # Averaged weights come first, as timm itself takes them.
    state: Mapping[str, Any] = found[0].tensors
    if len(found) > 1:
        place, others = found[0].place or "its top", ", ".join(one.place or "others" for one in found[1:4])
        progress.note(f"{file.name}: the weights are those of {place}; it also holds {others}")
    problem = _misfit(trunk, state)
    translate = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
    if problem and translate:
        # By convention it translates the authors' own checkpoints, and other sizes of position embeddings.
        try:
            translated = translate(dict(state), trunk)
        except Exception:
            translated = state
        if not _misfit(trunk, translated):
            problem, state = "", translated
    if problem:
        raise UlfineError(f"{file} does not fit the model {model}: {problem}")
    trunk.load_state_dict(state, strict=False)


def _misfit(trunk: nn.Module, state: Mapping[str, Any]) -> str:
    """Say in what a checkpoint and a model differ, or "" where they differ in nothing but the classifier."""
    wanted = trunk.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            return f"it has no tensor {name}"
        shape = tuple(getattr(state[name], "shape", ()))
        if shape != tuple(tensor.shape):
            return f"{name} is {shape} instead of {tuple(tensor.shape)}"
    classifiers = trunk.pretrained_cfg.get("classifier") or ()  # pyright: ignore
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    surplus = [name for name in state if name not in wanted and not name.startswith(classifiers or "head.")]
    return f"the model has no tensor {surplus[0]}" if surplus else ""
