"""From a file of weights to the tensors in it, whatever the file is called; nothing in it can run."""

import argparse
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

import torch

from ulfine_cache.atomic import reason
from ulfine_cache.encoders.model_libraries import quiet
from ulfine_cache.errors import UlfineError
from ulfine_cache.foreign_file import is_zip, what_it_is
from ulfine_cache.wording.counts import amount

SAVE_AGAIN: Final = "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
"""The one step that makes readable weights of a model that is open in Python."""
_LONGEST_HEADER = 100_000_000
"""Bytes; what safetensors allows."""
_SHARD = re.compile(r"^(.*)-\d{5}-of-(\d{5})(\.\w+)$")


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Read a file of weights: safetensors, what `torch.save` writes, or the index of shards of either.

    Which of them it is, is seen from the bytes, not from the name. Pickles are read without anything that could run:
    tensors, numbers, texts, lists and dicts of these, and the arguments of a command (`argparse.Namespace`).

    Args:
        path: The file.

    Returns:
        What is in it: tensors by name, or dicts of them beside other things.

    Raises:
        UlfineError: It is something else, damaged, or holds Python objects; one line says what and what to do.

    Example:
        >>> len(read_checkpoint(Path("weights.safetensors")))  # doctest: +SKIP
        302
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
        shard = _SHARD.match(path.name)
        index = path.with_name(f"{shard[1]}{shard[3]}.index.json") if shard else None
        if shard and int(shard[2]) > 1:
            beside = "" if index and index.is_file() else ", which lists them and is missing beside it"
            raise UlfineError(
                f"{path} is one of {amount(int(shard[2]), 'part')}: give --pretrained {index}{beside} (all parts stay "
                "beside it)"
            )
        if _is_safetensors(head):
            return _safetensors(path)
        if head.startswith(b"PK") and is_zip(path):
            return _archive(path)
        if head.startswith(b"\x80"):
            return _pickled(path)
        if head.lstrip().startswith(b"{"):
            return _parts(path)
        what = what_it_is(path)
    except OSError as error:
        raise UlfineError(f"cannot read {path}: {reason(error)}") from error
    if what:
        remedy = "" if ":" in what else ": give the weights, a .safetensors file or what torch.save wrote"
        raise UlfineError(f"{path} is {what}{remedy}")
    raise UlfineError(f"{path} is no file of weights: a .safetensors file or what torch.save wrote is needed")


def damage(path: Path) -> str:
    """Say in words that follow "FILE is" why a file can be no whole file of weights, "" where it may be one.

    Only headers are read.

    Raises:
        OSError: It cannot be read.

    Example:
        >>> damage(Path("weights.safetensors"))  # doctest: +SKIP
        'cut short or damaged'
    """
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        head = file.read(16)
    if _is_safetensors(head):
        try:
            with safe_open(path, "pt"):
                return ""
        except SafetensorError:
            return "cut short or damaged"
    if head.startswith(b"PK"):
        return "" if is_zip(path) else "cut short"
    return what_it_is(path).partition(":")[0]


def _is_safetensors(head: bytes) -> bool:
    # A JSON object begins alike, but the length before it would be that of letters.
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LONGEST_HEADER


def _safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UlfineError(
            f"{path} is a safetensors file that was cut short or damaged ({_first(error)}): fetch or copy it again"
        ) from error


def _archive(path: Path) -> Mapping[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UlfineError(f"{path} was cut short or damaged ({_first(error)}): fetch or copy it again") from error
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        raise UlfineError(
            f"{path} is a TorchScript archive (OpenAI's own .pt files are), which holds code and is not run: fetch the "
            f"same weights as .safetensors, or save them where you trust it, model = torch.jit.load(FILE): {SAVE_AGAIN}"
        )
    if any(name.endswith("data.pkl") for name in names):
        return _pickled(path)
    kind = "an archive of numpy arrays (.npz)" if any(name.endswith(".npy") for name in names) else "a ZIP archive"
    raise UlfineError(f"{path} is {kind}: give the weights, a .safetensors file or what torch.save wrote")


def _pickled(path: Path) -> Mapping[str, Any]:
    try:
        # As an open file, because torch goes by the end of a name.
        with quiet(), path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    # What is damaged fails anywhere in the reader, and so does what is refused.
    except Exception as error:
        if "weights only" in str(error).lower() or "weights_only" in str(error):
            raise UlfineError(
                f"{path} is not a plain checkpoint: it holds Python objects{_objects(path)}, which can hide code and "
                "are not opened: where you trust it, open it with the program that wrote it and save the weights "
                f"alone: {SAVE_AGAIN}"
            ) from error
        raise UlfineError(f"{path} was cut short or damaged ({_first(error)}): fetch or copy it again") from error
    if isinstance(content, Mapping):
        return cast("Mapping[str, Any]", content)
    raise UlfineError(f"{path} holds a {type(content).__name__}, not weights by name: {SAVE_AGAIN} writes them")


def _objects(path: Path) -> str:
    """Names of what an archive's pickle would call, found without calling it; older files do not tell."""
    try:
        with quiet(), path.open("rb") as file:
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    # It reads what is damaged or made to be so, as above.
    except Exception:
        return ""
    names = [name for name in names if name != "argparse.Namespace"]
    shown = f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''}"
    return f" ({shown})" if names else ""


def _parts(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
        names = sorted(set(content["weight_map"].values()))
        if any(Path(name).name != name for name in names):
            raise ValueError(names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UlfineError(
            f"{path} is JSON, not weights: give the .safetensors or .bin file (or its .index.json) that it is about"
        ) from error
    tensors: dict[str, Any] = {}
    for name in names:
        part = path.with_name(name)
        if not part.is_file():
            raise UlfineError(
                f"{path} lists {amount(len(names), 'part')}, and {name} is not beside it: fetch all of them"
            )
        with part.open("rb") as file:
            is_safe = file.read(9)[8:9] == b"{"
        tensors |= _safetensors(part) if is_safe else _pickled(part)
    return tensors


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
