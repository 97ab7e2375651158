"""Loading what ``--model`` names, one encoder or several with ``+`` between them, and what made a cache."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ulfine_cache.elsewhere.found_part import is_file
from ulfine_cache.encoders import encoder as one
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.encoders.own_encoder import named_in_file
from ulfine_cache.encoders.picture_choice import PictureOptions
from ulfine_cache.encoders.weights import names_of_ours
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.joining.joined_encoder import JoinedEncoder
from ulfine_cache.joining.parts import BETWEEN, parts_of
from ulfine_cache.pictures.joined_preprocess import read_preprocess
from ulfine_cache.progress import Progress, Silent

_FOLDER = "local-dir:"
_MOST = 8


def named_encoders(model: str, pretrained: str) -> list[tuple[str, str]]:
    """Take ``--model A+B --pretrained a+b`` apart; one name of weights is for all encoders.

    Args:
        model: Names with ``+`` between them.
        pretrained: A tag or file for each, or one for all.

    Returns:
        Model and weights of each encoder.

    Raises:
        UsageError: There are not as many weights as encoders, or an encoder comes twice or has no name.

    Example:
        >>> named_encoders("ViT-B-32+RN50", "laion2b_s34b_b79k+openai")
        [('ViT-B-32', 'laion2b_s34b_b79k'), ('RN50', 'openai')]
    """
    if BETWEEN not in model or (model.startswith(_FOLDER) and Path(model.removeprefix(_FOLDER)).is_dir()):
        return [(model, pretrained)]
    names = [name.strip() for name in model.split(BETWEEN)]
    if not all(names):
        raise UsageError(f"--model {model} names an encoder without a name: write A{BETWEEN}B")
    weights = [name.strip() for name in pretrained.split(BETWEEN)]
    weights = weights * len(names) if len(weights) == 1 else weights
    if len(weights) != len(names):
        raise UsageError(
            f"--model {model} names {len(names)} encoders and --pretrained {pretrained} weights of {len(weights)}: "
            f"give one for all, or one for each with {BETWEEN} between them (a file with {BETWEEN} in its name needs "
            "another)"
        )
    pairs = list(zip(names, weights, strict=True))
    for place, pair in enumerate(pairs):
        if pair in pairs[:place]:
            raise UsageError(f"--model {model} names {pair[0]} twice, which says nothing new: name others")
    if len(pairs) > _MOST:
        raise UsageError(f"--model names {len(pairs)} encoders: {_MOST} at the most are put side by side")
    return pairs


def load_named(
    model: str,
    pretrained: str,
    device: str = "auto",
    precision: str = "auto",
    *,
    pictures: PictureOptions = PictureOptions(),  # noqa: B008
    pre_projection: bool = False,
    progress: Progress = Silent(),  # noqa: B008
) -> ClipEncoder:
    """Load one encoder or several; see `ClipEncoder.load`.

    Args:
        model: As there, or several names with ``+`` between them.
        pretrained: As there, or one for each.
        device: As there.
        precision: As there.
        pictures: What is asked for about pictures, of one encoder.
        pre_projection: Whether features before the projection are wanted, of one encoder.
        progress: Receives notes.

    Raises:
        UsageError: As there, or what is asked for is for one encoder alone.
        UlfineError: As there.
    """
    pairs = [(_named(name), weights) for name, weights in named_encoders(model, pretrained)]
    if len(pairs) == 1:
        return ClipEncoder.load(*pairs[0], device, precision, pictures=pictures, progress=progress)
    asked = {
        "--preprocess": pictures.tag,
        "--mean": pictures.mean,
        "--std": pictures.std,
        "--interpolation": pictures.interpolation,
        "--pre-projection": pre_projection or None,
    }
    for option, value in asked.items():
        if value is not None:
            raise UsageError(
                f"{option} is for one encoder, and --model {model} names {len(pairs)}: make a cache for each, and put "
                "them side by side with `ulfine join`"
            )
    encoders = [ClipEncoder.load(*pair, device, precision, progress=progress) for pair in pairs]
    joined = JoinedEncoder(encoders)
    hashes = [encoder.weights_hash for encoder in encoders]
    if len(set(hashes)) < len(hashes):
        raise UsageError(f"--model {model} names the same weights twice, which says nothing new: name others")
    without = [encoder.model_name for encoder in encoders if not encoder.has_text]
    if without and len(without) < len(encoders):
        progress.note(f"{', '.join(without)} has no text encoder, so that the text of the others is left out")
    return joined


def _named(model: str) -> str:
    """The name of an encoder; of one in a file that the user named, which is run."""
    return named_in_file(model, names_of_ours()) if is_file(model) else model


def load_encoder(
    attributes: Mapping[str, Any],
    device: str = "auto",
    precision: str | None = None,
    *,
    progress: Progress = Silent(),  # noqa: B008
) -> ClipEncoder:
    """Load the encoder or the encoders that made a cache; see `ulfine_cache.encoders.encoder.load_encoder`.

    Raises:
        UlfineError: As there, of any of them.
    """
    parts = parts_of(attributes)
    if not parts:
        return one.load_encoder(attributes, device, precision, progress=progress)
    if not attributes.get("weights_hash"):
        raise UlfineError(
            "the features are those of several encoders, of which some are not known: images cannot be encoded alike"
        )
    encoder = JoinedEncoder([one.load_encoder(part, device, precision, progress=progress) for part in parts])
    if attributes.get("preprocess"):
        encoder.preprocess_with(read_preprocess(str(attributes["preprocess"])))
    return encoder
