"""Find and load a model by name and weights, and say in one line why that is impossible."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from ulfine_cache.encoders.checkpoints.checkpoint_fit import load_into
from ulfine_cache.encoders.checkpoints.downloaded import damaged_download, damaged_in, weights_in
from ulfine_cache.encoders.checkpoints.files_beside import OPEN_CLIP, Beside, read_beside
from ulfine_cache.encoders.lite0 import LITE0, load_lite0
from ulfine_cache.encoders.model_libraries import first_line, nearest, quiet, without_waiting
from ulfine_cache.encoders.own_encoder import load_own, own_names
from ulfine_cache.encoders.picture_choice import FIELDS, PictureOptions, in_words, of_tag, shared
from ulfine_cache.encoders.timm_model import PREFIX, load_timm
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.preprocess import Preprocess
from ulfine_cache.progress import Progress

TINY = "builtin:tiny"
_LOCAL = "local-dir:"
_HUB = "hf-hub:"
_SCHEMAS = (_HUB, _LOCAL)


def load_model(
    model: str, pretrained: str, *, pictures: PictureOptions | None = None, progress: Progress
) -> tuple[nn.Module, str]:
    """Load a model in fp32 on the CPU.

    A tag whose weights were trained with QuickGELU gets QuickGELU, also where the model's name lacks "-quickgelu":
    open_clip itself only warns and computes other features. A file gets it where a description beside it says so.

    How pictures are made (`model.visual.preprocess_cfg`) is what `pictures` says, else the tag, else a description
    beside the file, else what all weights of that architecture share.

    Args:
        model: "builtin:tiny", "builtin:lite0", an open_clip model name, "hf-hub:...", "local-dir:..." or "timm:...".
        pretrained: An open_clip tag or a local checkpoint file; not looked at where `model` brings its weights.
        pictures: What is asked for about pictures; None where the caller knows how they are made and does not need it
            of the model.
        progress: Receives notes.

    Returns:
        The model, and where its weights came from: the tag, the absolute path of the file, or "".

    Raises:
        UsageError: Model or tag are unknown, or nothing says how pictures are made.
        UlfineError: The weights cannot be had or do not fit.
    """
    import open_clip

    if model in own_names():
        return load_own(model, pretrained, pictures)
    if model.startswith(PREFIX):
        return load_timm(model, pretrained, pictures=pictures, progress=progress)
    if model in (TINY, LITE0) or model.startswith(_SCHEMAS):
        return _with_pictures(_own_weights(model, progress), model, {}, pictures, progress), ""
    name = model.replace("/", "-")
    if name not in open_clip.list_models():
        raise UsageError(f"no model {model!r}: {_advice(name, [*names_of_ours(), *own_names()])}")
    if not pretrained:
        raise UsageError(f"{model} needs weights: give --pretrained a tag or a checkpoint file")
    tags = _tags(name)
    if open_clip.get_pretrained_cfg(name, pretrained):
        return _with_pictures(_from_tag(model, name, pretrained, progress), model, tags, pictures, progress), pretrained
    path = Path(pretrained).expanduser()
    _check_file(model, pretrained, path, list(tags))
    config = open_clip.get_model_config(name) or {}
    beside = read_beside(path, config)
    # Before the weights, because refusing costs nothing yet.
    chosen = None if pictures is None else _pictures_of_file(model, tags, beside, pictures)
    quick, note = _quick_gelu(name, path, bool(config.get("quick_gelu")), beside, pictures)
    if path.suffix == ".npz" and "timm_model_name" in config["vision_cfg"]:
        # Google's own layout of SigLIP, which open_clip reads itself.
        built = _create(name, pretrained=str(path), force_quick_gelu=quick)
    else:
        built = _create(name, empty=True, force_quick_gelu=quick)
        load_into(built, name, path, progress=progress)
    if note:
        progress.note(f"{path.name}{note}")
    if chosen is not None:
        cfg, why = chosen
        _set_pictures(built, cfg)
        progress.note(f"pictures: {in_words({field: cfg[field] for field in FIELDS})} ({why})")
    return built, str(path.resolve())


def names_of_ours() -> list[str]:
    """Names of the encoders that there are without other packages, timm's and the hub's left out."""
    import open_clip

    return [TINY, LITE0, *open_clip.list_models()]


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
        with quiet(), without_waiting(needed=_needs_hub(model)):
            return open_clip.get_tokenizer(model)
    except Exception as error:
        raise UlfineError(
            f"the tokenizer of {model} cannot be loaded ({first_line(error)}): it needs the package "
            "transformers and files that are downloaded once"
        ) from error


def _own_weights(model: str, progress: Progress) -> nn.Module:
    """Load a model whose name says all."""
    if model == TINY:
        from ulfine_cache import tiny

        return _create(tiny.register(), pretrained=str(tiny.WEIGHTS_FILE))
    if model == LITE0:
        return load_lite0(progress=progress)
    if model.startswith(_LOCAL):
        return _local_dir(Path(model.removeprefix(_LOCAL)))
    try:
        return _create(model)
    except UlfineError as error:
        if damaged := damaged_download(model.removeprefix(_HUB)):
            raise UlfineError(f"the weights of {model} were downloaded before, and {damaged}") from error
        raise


def _local_dir(folder: Path) -> nn.Module:
    if not folder.is_dir():
        raise UlfineError(f"no folder {folder}: {_LOCAL} takes one with {OPEN_CLIP} and a file of weights")
    if not (folder / OPEN_CLIP).is_file():
        raise UlfineError(
            f"{folder} has no {OPEN_CLIP}, which says what {_LOCAL} holds: give --model NAME --pretrained FILE with "
            "the architecture and the file of weights in it"
        )
    if not weights_in(folder.glob("*")):
        raise UlfineError(f"{folder} has no file of weights beside {OPEN_CLIP}, such as open_clip_model.safetensors")
    if damaged := damaged_in(folder):
        raise UlfineError(damaged)
    return _create(f"{_LOCAL}{folder}")


def _from_tag(model: str, name: str, tag: str, progress: Progress) -> nn.Module:
    import open_clip

    cfg = open_clip.get_pretrained_cfg(name, tag)
    quick = bool(cfg.get("quick_gelu")) and not (open_clip.get_model_config(name) or {}).get("quick_gelu")
    if quick:
        progress.note(f"{model} {tag} was trained with QuickGELU: it is used")
    try:
        return _create(name, pretrained=tag, force_quick_gelu=quick)
    except UlfineError as error:
        if damaged := damaged_download(str(cfg.get("hf_hub") or "")):
            raise UlfineError(f"the weights {tag} of {model} were downloaded before, and {damaged}") from error
        advised = f"{name}-quickgelu" if quick and f"{name}-quickgelu" in open_clip.list_models() else name
        source = f"https://huggingface.co/{str(cfg['hf_hub']).strip('/')}" if cfg.get("hf_hub") else cfg.get("url")
        try:
            shared(advised, _tags(advised), {})
            pictures = ""
        except UsageError:
            pictures = f" --preprocess {tag}"
        raise UlfineError(
            f"the weights {tag} of {model} are not on this machine and cannot be downloaded: fetch them "
            f"from {source} elsewhere and give --model {advised} --pretrained FILE{pictures}"
        ) from error


def _tags(name: str) -> dict[str, Mapping[str, Any]]:
    """How pictures are made for each tag of an open_clip model."""
    import open_clip

    return {tag: open_clip.get_pretrained_cfg(name, tag) for tag in open_clip.list_pretrained_tags_by_model(name)}


def _check_file(model: str, pretrained: str, path: Path, tags: list[str]) -> None:
    if path.is_file():
        return
    if path.is_dir():
        there = weights_in(path.iterdir())
        named = f"such as {there[0]}" if there else "and this one holds none"
        raise UlfineError(f"{pretrained} is a folder: --pretrained takes the file of weights, {named}")
    if os.sep in pretrained or path.suffix:
        raise UlfineError(f"no checkpoint file {pretrained}: give a file, or a tag ({nearest(pretrained, tags)})")
    raise UsageError(f"{model} has no weights {pretrained!r} and there is no such file: {nearest(pretrained, tags)}")


def _pictures_of_file(
    model: str, tags: Mapping[str, Mapping[str, Any]], beside: Beside, asked: PictureOptions
) -> tuple[dict[str, Any], str]:
    """How pictures are made for weights from a file, and who says so."""
    from open_clip.transform import PreprocessCfg

    default = asdict(PreprocessCfg())
    cfg = {field: default[field] for field in FIELDS}
    if asked.tag is not None:
        cfg, why = dict(of_tag(model, tags, asked.tag)), f"--preprocess {asked.tag}"
    elif beside.pictures:
        cfg, why = cfg | dict(beside.pictures), f"{beside.pictures_from} beside the file"
    elif tags:
        cfg, why = cfg | shared(model, tags, asked.fields), f"all weights of {model} share it"
    else:
        why = f"open_clip's default: it knows no weights of {model}"
    said = ", ".join(f"--{name}" for name in asked.fields)
    return cfg | asked.fields, f"{said}; else {why}" if said else why


def _quick_gelu(
    name: str, path: Path, built_in: bool, beside: Beside, pictures: PictureOptions | None
) -> tuple[bool, str]:
    """Whether a model from a file has to be given QuickGELU, which its name does not say, and a note on that."""
    import open_clip

    if beside.quick_gelu is None:
        if f"{name}-quickgelu" not in open_clip.list_models():
            return False, ""
        cfg = open_clip.get_pretrained_cfg(name, pictures.tag) if pictures and pictures.tag else {}
        known = f"those of {pictures.tag} were" if pictures and cfg.get("quick_gelu") else "OpenAI's were"
        return False, f": if it was trained with QuickGELU ({known}), use --model {name}-quickgelu"
    if built_in and not beside.quick_gelu:
        raise UlfineError(
            f"{path} was trained without QuickGELU ({beside.quick_gelu_from} beside it says so): give --model "
            f"{name.removesuffix('-quickgelu')}"
        )
    if built_in or not beside.quick_gelu:
        return False, ""
    return True, f" was trained with QuickGELU ({beside.quick_gelu_from} beside it): it is used"


def _with_pictures(
    model: nn.Module,
    name: str,
    tags: Mapping[str, Mapping[str, Any]],
    asked: PictureOptions | None,
    progress: Progress,
) -> nn.Module:
    """Let a model whose own pictures are known take others where they are asked for."""
    if asked is None or asked == PictureOptions():
        return model
    cfg = {} if asked.tag is None else {key: of_tag(name, tags, asked.tag)[key] for key in FIELDS}
    _set_pictures(model, cfg | asked.fields)
    progress.note(f"pictures: {in_words(cfg | asked.fields)} (asked for)")
    return model


def _set_pictures(model: nn.Module, cfg: Mapping[str, Any]) -> None:
    own: dict[str, Any] = model.visual.preprocess_cfg  # pyright: ignore
    own = own | {field: cfg[field] for field in FIELDS if field in cfg}
    if "enlarged" in cfg:
        height, width = Preprocess.from_open_clip(own).size
        own["resize"] = (round(height * cfg["enlarged"]), round(width * cfg["enlarged"]))
    model.visual.preprocess_cfg = own  # pyright: ignore


def _create(
    name: str, *, pretrained: str | None = None, empty: bool = False, force_quick_gelu: bool = False
) -> nn.Module:
    """Create a model with its weights, or `empty` for weights that are loaded into it afterwards."""
    import open_clip

    try:
        with quiet(), without_waiting(needed=_needs_hub(name, pretrained)):
            return open_clip.create_model(
                name,
                pretrained=pretrained,
                force_quick_gelu=force_quick_gelu,
                # Text encoders of transformers would download weights of their own.
                pretrained_text=not empty,
                require_pretrained=not empty,
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


def _needs_hub(name: str, pretrained: str | None = None) -> bool:
    """Whether a model, its weights or its tokenizer may have to be downloaded."""
    import open_clip

    if name.startswith(_SCHEMAS) or (pretrained is not None and not Path(pretrained).is_file()):
        return True
    text = (open_clip.get_model_config(name) or {}).get("text_cfg") or {}
    return any(text.get(key) for key in ("hf_model_name", "hf_tokenizer_name"))


def _advice(name: str, names: list[str]) -> str:
    import timm

    if timm.is_model(name.partition(".")[0]):
        return f"it is one of timm's, which have no text encoder: give --model timm:{name}"
    return nearest(name, names)


def _state_dict_difference(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()[1:] if line.strip()]
    return lines[0][:160] if lines else "its tensors differ"
