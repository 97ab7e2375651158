"""Encoders that are not in this repository: what one is, and how ``--model`` names it.

``FILE.py`` or ``FILE.py:NAME`` runs a file; the plain name is one of an installed package. A cache records the name,
and never a file to run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ulfine_cache.elsewhere.found_part import ENCODER_ORIGIN, Kind, Origin, said
from ulfine_cache.encoders.picture_choice import PictureOptions
from ulfine_cache.encoders.timm_model import TimmImageModel
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.preprocess import Preprocess

GROUP = "ulfine_fast.encoders"
"""Of the entry points by which an installed package adds encoders."""

_UNSAID = ("", "openai")
"""`pretrained` where the user did not say anything."""


@dataclass(frozen=True)
class Encoder:
    """An encoder that ulfine-fast does not know.

    Attributes:
        name: By which ``--model`` names it where it is installed.
        load: From what ``--pretrained`` says, "" for nothing, to a module that maps float32 (n, 3, height, width) to
            (n, D); unit length is not asked for. It is traced for an export.
        preprocess: How pictures become its pixels.
        encode_text: From the module and n prompts to (n, D); None where it has no text.
    """

    name: str
    load: Callable[[str], nn.Module]
    preprocess: Preprocess
    encode_text: Callable[[nn.Module, Sequence[str]], torch.Tensor] | None = None


KIND = Kind("encoder", Encoder, GROUP)

_run: dict[str, tuple[Encoder, Origin]] = {}
"""Of files that the user named in this process, by name."""


class OwnImageModel(TimmImageModel):
    """An encoder of one's own with the face of an open_clip model.

    Args:
        encoder: What it is.
        trunk: What its `Encoder.load` gave.
        origin: Where its code is from.
    """

    def __init__(self, encoder: Encoder, trunk: nn.Module, origin: Origin) -> None:
        super().__init__(trunk, asdict(encoder.preprocess))
        self.texts, self.origin = encoder.encode_text, origin
        # Part of the hash of the weights: an encoder may have none.
        self.register_buffer("own_name", torch.tensor(list(encoder.name.encode()), dtype=torch.uint8))

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Encode n prompts to (n, D)."""
        assert self.texts is not None
        return self.texts(self.visual, texts)


def own_names() -> list[str]:
    """The names of encoders of installed packages, and of files that were named in this process."""
    return sorted({**_run, **KIND.installed()})


def named_in_file(model: str, taken: Sequence[str]) -> str:
    """Run a file that the user named, and give the name of the encoder in it.

    Args:
        model: What ``--model`` says.
        taken: Names of encoders that are there without it.

    Raises:
        UlfineError: The file does not hold an encoder.
    """
    found = KIND.of_file(model, [*taken, *KIND.installed()])
    _run[found[0].name] = found
    return found[0].name


def load_own(model: str, pretrained: str, pictures: PictureOptions | None) -> tuple[OwnImageModel, str]:
    """Load an encoder of `own_names` in fp32 on the CPU.

    Args:
        model: Its name.
        pretrained: What ``--pretrained`` says.
        pictures: What is asked for about pictures.

    Returns:
        The model, and what was said of weights.

    Raises:
        UlfineError: Its code fails, or gives no module.
    """
    packaged = KIND.installed()
    encoder, origin = KIND.of_package(packaged[model], ()) if model in packaged else _run[model]
    if pictures is not None and pictures.tag is not None:
        raise UsageError(f"--preprocess is for open_clip's models, and {model} is none: leave it out")
    asked = "" if pretrained in _UNSAID else pretrained
    try:
        trunk = encoder.load(asked)
    except (UlfineError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        raise UlfineError(f"the encoder {model!r} of {origin} cannot be loaded ({said(error)})") from error
    if not isinstance(trunk, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UlfineError(f"the encoder {model!r} of {origin} loads a {type(trunk).__name__}, not a torch module")
    made = OwnImageModel(encoder, trunk.float(), origin)
    if pictures is not None:
        made.visual.preprocess_cfg = made.visual.preprocess_cfg | pictures.fields  # pyright: ignore
    return made, asked


def encoder_attributes(model: nn.Module) -> dict[str, str]:
    """What a cache records of where its encoder's code is from; nothing for those of this package."""
    return {ENCODER_ORIGIN: json.dumps(asdict(model.origin))} if isinstance(model, OwnImageModel) else {}


def refuse_missing(attributes: Mapping[str, Any]) -> None:
    """Refuse the encoder of a cache that is neither installed nor was named in this process.

    Raises:
        UlfineError: It is missing; the line says which package is needed.
    """
    name = str(attributes["model"])
    if ENCODER_ORIGIN not in attributes or name in own_names():
        return
    origin = Origin(**json.loads(attributes[ENCODER_ORIGIN]))
    if origin.package:
        raise UlfineError(f"the encoder {name!r} of the cache is of {origin}, which is not installed: install it")
    raise UlfineError(
        f"the encoder {name!r} of the cache is of {origin}, which is not run for a cache: install a package that has "
        f"the encoder as an entry point in {GROUP}"
    )
