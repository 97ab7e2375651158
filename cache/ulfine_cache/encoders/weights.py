"""Find and load a model by name and weights, and say in one line why that is impossible."""

import os
from pathlib import Path
from typing import Any

from torch import nn

from ulfine_cache.encoders.lite0 import LITE0, load_lite0
from ulfine_cache.encoders.model_libraries import first_line, nearest, quiet, without_waiting
from ulfine_cache.encoders.timm_model import PREFIX, load_timm
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress

TINY = "builtin:tiny"
_SCHEMAS = ("hf-hub:", "local-dir:")


def load_model(model: str, pretrained: str, *, progress: Progress) -> tuple[nn.Module, str]:
    """Load a model in fp32 on the CPU.

    A tag whose weights were trained with QuickGELU gets QuickGELU, also where the model's name lacks "-quickgelu":
    open_clip itself only warns and computes other features.

    Args:
        model: "builtin:tiny", "builtin:lite0", an open_clip model name, "hf-hub:...", "local-dir:..." or "timm:...".
        pretrained: An open_clip tag or a local checkpoint file; not looked at where `model` brings its weights.
        progress: Receives notes.

    Returns:
        The model, and where its weights came from: the tag, the absolute path of the file, or "".

    Raises:
        UsageError: Model or tag are unknown.
        UlfineError: The weights cannot be had or do not fit.
    """
    import open_clip

    if model == TINY:
        from ulfine_cache import tiny

        return _create(tiny.register(), pretrained=str(tiny.WEIGHTS_FILE)), ""
    if model == LITE0:
        return load_lite0(progress=progress), ""
    if model.startswith(PREFIX):
        return load_timm(model, pretrained, progress=progress)
    if model.startswith(_SCHEMAS):
        return _create(model), ""
    name = model.replace("/", "-")
    if name not in open_clip.list_models():
        raise UsageError(f"no model {model!r}: {_advice(name, [TINY, LITE0, *open_clip.list_models()])}")
    if not pretrained:
        raise UsageError(f"{model} needs weights: give --pretrained a tag or a checkpoint file")
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if tag:
        quick = bool(tag.get("quick_gelu")) and not (open_clip.get_model_config(name) or {}).get("quick_gelu")
        if quick:
            progress.note(f"{model} {pretrained} was trained with QuickGELU: it is used")
        try:
            return _create(name, pretrained=pretrained, force_quick_gelu=quick), pretrained
        except UlfineError as error:
            advised = f"{name}-quickgelu" if quick and f"{name}-quickgelu" in open_clip.list_models() else name
            source = f"https://huggingface.co/{str(tag['hf_hub']).strip('/')}" if tag.get("hf_hub") else tag.get("url")
            raise UlfineError(
                f"the weights {pretrained} of {model} are not on this machine and cannot be downloaded: fetch them "
                f"from {source} elsewhere and give --model {advised} --pretrained FILE"
            ) from error
    path = Path(pretrained).expanduser()
    if not path.is_file():
        tags = open_clip.list_pretrained_tags_by_model(name)
        if os.sep in pretrained or path.suffix:
            raise UlfineError(f"no checkpoint file {pretrained}: give a file, or a tag ({nearest(pretrained, tags)})")
        raise UsageError(
            f"{model} has no weights {pretrained!r} and there is no such file: {nearest(pretrained, tags)}"
        )
    if f"{name}-quickgelu" in open_clip.list_models():
        progress.note(f"{path.name}: if it was trained with QuickGELU (OpenAI's were), use --model {name}-quickgelu")
    return _create(name, pretrained=str(path)), str(path.resolve())


def load_tokenizer(model: str) -> Any:
    """Return the tokenizer of a model: a function from a list of n texts to int64 tokens (n, context length).

    Raises:
        UlfineError: Its files cannot be had.
    """
    import open_clip

    if model == TINY:
        from ulfine_cache import tiny

        model = tiny.register()
    try:
        with quiet(), without_waiting():
            return open_clip.get_tokenizer(model)
    except Exception as error:
        raise UlfineError(
            f"the tokenizer of {model} cannot be loaded ({first_line(error)}): it needs the package "
            "transformers and files that are downloaded once"
        ) from error


def _create(name: str, *, pretrained: str | None = None, force_quick_gelu: bool = False) -> nn.Module:
    import open_clip

    try:
        with quiet(), without_waiting():
            return open_clip.create_model(
                name, pretrained=pretrained, force_quick_gelu=force_quick_gelu, require_pretrained=True
            )
    # open_clip, torch, huggingface_hub and the network each have errors of their own; all mean "no model".
    except Exception as error:
        file = pretrained or name
        text = str(error)
        if "TorchScript" in text:
            raise UlfineError(
                f"{file} is a TorchScript archive, which holds code: use the safetensors file of the same weights"
            ) from error
        if "loading state_dict" in text or "size mismatch" in text:
            raise UlfineError(f"{file} does not fit the model {name}: {_state_dict_difference(text)}") from error
        if "weights_only" in text.lower() or "pickle" in type(error).__name__.lower():
            raise UlfineError(
                f"{file} is not a plain checkpoint: a state dict as .safetensors or .pt is needed"
            ) from error
        raise UlfineError(f"{file} cannot be loaded as {name}: {first_line(error)}") from error


def _advice(name: str, names: list[str]) -> str:
    import timm

    if timm.is_model(name.partition(".")[0]):
        return f"it is one of timm's, which have no text encoder: give --model timm:{name}"
    return nearest(name, names)


def _state_dict_difference(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    return lines[0][:160] if lines else "its tensors differ"
