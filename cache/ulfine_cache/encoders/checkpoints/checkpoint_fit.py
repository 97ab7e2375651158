"""Load a checkpoint into a model of open_clip, or say what the file holds instead and the one step that helps."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ulfine_cache.encoders.checkpoints.checkpoint_file import SAVE_AGAIN, read_checkpoint
from ulfine_cache.encoders.checkpoints.checkpoint_layout import (
    Found,
    Tensors,
    all_tensors,
    find_weights,
    from_transformers,
)
from ulfine_cache.encoders.checkpoints.model_sizes import likely_names
from ulfine_cache.encoders.model_libraries import quiet
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress

_TOPS = ("visual", "vision_model", "image_encoder")
"""What the image tower is called by open_clip, by transformers, and by Apple's MobileCLIP."""
_SHOWN = 3


def load_into(model: nn.Module, name: str, file: Path, *, progress: Progress) -> None:
    """Load a file of weights into a model, strictly: nothing of it stays as it was drawn at random.

    Args:
        model: A model of open_clip.
        name: What it is called, for errors.
        file: The weights, in one of the layouts of `checkpoint_layout`.
        progress: Receives notes on what of the file is taken, where that may be doubted.

    Raises:
        UlfineError: The file is no checkpoint or does not fit; one line says what it holds and what to do.
    """
    checkpoint = read_checkpoint(file)
    candidates = find_weights(checkpoint, _TOPS)
    wanted = model.state_dict()
    misfits: list[tuple[int, str, Tensors]] = []
    for found in candidates:
        tensors = _as_open_clip(found.tensors, model)
        sized = _resized(tensors, model)
        problems = misfit(wanted, sized)
        if not problems:
            for note in _taken(found, candidates, tensors, sized, wanted):
                progress.note(f"{file.name}: {note}")
            model.load_state_dict(sized, strict=False)
            return
        misfits.append((len(problems), _listed(problems), tensors))
    if not misfits:
        raise UlfineError(f"{file} {_instead(checkpoint, name)}")
    _, differences, tensors = min(misfits, key=lambda one: one[0])
    held = _known(all_tensors(checkpoint) | tensors, wanted)
    if held:
        raise UlfineError(f"{file} {held}")
    names = likely_names(tensors)
    advice = "give the --model that it is of"
    if name.removesuffix("-quickgelu") in names:
        advice = "its sizes are those of the model: give weights as they were trained, all of them"
    elif names:
        advice = f"it looks like {_few(names)}: give --model {names[0]}"
    raise UlfineError(f"{file} does not fit the model {name}: {differences}; {advice}")


def misfit(wanted: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """Say one by one in what weights differ from a model's; surplus of which the model has nothing alike is none."""
    problems = []
    for name, tensor in wanted.items():
        there = tensors.get(name)
        if there is None:
            problems.append(f"it has no tensor {name}")
        elif there.shape != tensor.shape:
            problems.append(f"{name} is {tuple(there.shape)} instead of {tuple(tensor.shape)}")
        elif there.is_floating_point() != tensor.is_floating_point():
            problems.append(f"{name} is {str(there.dtype).removeprefix('torch.')} (quantised)")
    tops = {name.partition(".")[0] for name in wanted}
    # A decoder or a head beside the model changes none of its features; a layer inside it would.
    inside = [name for name in tensors if name not in wanted and name.partition(".")[0] in tops]
    return problems + [f"the model has no tensor {name}" for name in inside]


def _as_open_clip(tensors: Tensors, model: nn.Module) -> Tensors:
    """What `open_clip.load_checkpoint` does to the names of a state dict, and transformers' layout before that."""
    from open_clip.convert import convert_state_dict
    from open_clip.model import convert_to_custom_text_state_dict

    tensors = from_transformers(tensors)
    # open_clip expects all of MobileCLIP where it sees a part of it; who compares says what is missing.
    with quiet(), contextlib.suppress(KeyError, AttributeError, RuntimeError, IndexError):
        tensors = convert_state_dict(model, dict(tensors))  # pyright: ignore[reportArgumentType]
    if not hasattr(model, "text"):
        tensors = {name.removeprefix("text."): tensor for name, tensor in tensors.items()}
    elif "positional_embedding" in tensors:
        tensors = convert_to_custom_text_state_dict(tensors)
    for scalar in ("logit_scale", "logit_bias"):
        # Features do not depend on them, and files have them or not, as numbers or as lists of one.
        own, there = getattr(model, scalar, None), tensors.pop(scalar, None)
        if own is not None:
            fits = there is not None and there.numel() == 1
            tensors[scalar] = there.reshape(own.shape) if fits and there is not None else own.detach().clone()
    return tensors


def _resized(tensors: Tensors, model: nn.Module) -> Tensors:
    """Fit the positions to another size of pictures, or of prompts, by open_clip's rule."""
    from open_clip.model import resize_pos_embed, resize_text_pos_embed

    sized = dict(tensors)
    # It expects positions of the model's own width.
    with quiet(), contextlib.suppress(RuntimeError, AssertionError, AttributeError):
        resize_pos_embed(sized, model)
        resize_text_pos_embed(sized, model)
    return sized


def _taken(
    found: Found, candidates: Sequence[Found], tensors: Tensors, sized: Tensors, wanted: Mapping[str, torch.Tensor]
) -> Iterator[str]:
    others = [one.place or "other weights" for one in candidates if one is not found]
    if others:
        yield f"the weights are those of {found.place or 'its top'}; it also holds {_few(others)}"
    beside = sorted({name.partition(".")[0] for name in sized} - {name.partition(".")[0] for name in wanted})
    if beside:
        yield f"not read: {_few(beside)}"
    for name, tensor in tensors.items():
        if tensor.shape != sized[name].shape:
            yield f"{name} is resized from {tuple(tensor.shape)} to {tuple(sized[name].shape)}, as open_clip does it"


def _instead(checkpoint: Mapping[str, Any], name: str) -> str:
    """What a file holds that has no image tower of CLIP, and what to do."""
    tensors = all_tensors(checkpoint)
    names = list(tensors)
    if not names:
        return f"holds no tensors ({_few([str(key) for key in checkpoint])}): {SAVE_AGAIN} writes a model's weights"
    if any(re.search(r"lora_|\.adapter", key) for key in names):
        return _LORA
    if set(checkpoint) & {"optimizer", "optimizer_state_dict", "optimizer_states", "param_groups"} or any(
        re.fullmatch(r"exp_avg(_sq)?|momentum_buffer|step", key) for key in names
    ):
        return f"holds the state of an optimizer, no weights: give the file of the model, or write it with {SAVE_AGAIN}"
    if any(re.search(r"(^|\.)(class_embedding|attnpool\.positional_embedding)$", key) for key in names):
        return _ONE_TOWER
    if any(re.search(r"(^|\.)(patch_embed|stem|blocks\.0|stages\.0|layer1\.0)\.", key) for key in names):
        return f"holds an image encoder without text ({_few(names)}), not {name}: --model timm:NAME takes timm's"
    return f"does not fit the model {name}: it holds no image tower of CLIP, but {_few(names)}; give a file of CLIP"


_LORA = (
    "holds only adapters (LoRA) for a model, or a model with them in: merge them in the program that made them "
    "(peft: model.merge_and_unload()), and save the whole model"
)
_ONE_TOWER = (
    "holds only the image tower, without the text encoder: give the file of the whole model; without text "
    "prototypes --model timm:NAME takes image towers"
)
_SIGLIP = (
    "is a SigLIP of transformers, whose layout is not read here: fetch open_clip's file of the same weights "
    "(huggingface.co/timm, names with SigLIP)"
)


def _known(tensors: Tensors, wanted: Mapping[str, torch.Tensor]) -> str:
    """What a file with an image tower holds, where that explains all differences."""
    if any("lora_" in name for name in tensors):
        return _LORA
    if any(re.search(r"(^|\.)vision_model\.head\.", name) for name in tensors):
        return _SIGLIP
    missing = [name for name in wanted if name not in tensors]
    if missing and not any(name.startswith("visual.") for name in missing):
        text = [name for name in tensors if name in wanted and not name.startswith(("visual.", "logit_"))]
        return "" if text else _ONE_TOWER
    return ""


def _listed(problems: Sequence[str]) -> str:
    # Shapes tell more than names, and the names of one layer tell as much as those of all.
    ordered = sorted(problems, key=lambda problem: " instead of " not in problem)
    more = len(problems) - _SHOWN
    return ", ".join(ordered[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
