"""What a cache of several encoders records of them: ``parts``, a list in JSON, and what stands for all of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

PARTS = "parts"
"""The attribute; each entry has the encoder's ``model``, ``pretrained``, ``weights_hash``, ``preprocess``,
``precision`` and ``width``."""

BETWEEN = "+"
"""Between the names of encoders, as ``--model A+B`` writes them."""

OF_ENCODER = ("model", "pretrained", "weights_hash", "preprocess", "precision")
"""What a cache records of its encoder."""


def parts_of(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The encoders of a cache of several; empty for one encoder.

    Args:
        attributes: Of `cache.h5`, or what a run remembers of them.
    """
    return json.loads(attributes[PARTS]) if PARTS in attributes else []


def encodes_pictures(attributes: Mapping[str, Any]) -> bool:
    """Whether it is known which encoder, or encoders, made the features, so that pictures can be encoded alike."""
    return bool(attributes.get("weights_hash"))


def whole_of(parts: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the attributes of one encoder are for several: their names in a row, one hash, all preprocessing.

    Args:
        parts: As `parts_of` gives them, each of an encoder that is known.

    Example:
        >>> from ulfine_cache.preprocess import Preprocess
        >>> same = {"model": "A", "pretrained": "", "weights_hash": "f", "precision": "fp32"}
        >>> pictures = Preprocess((8, 8), (0.0,) * 3, (1.0,) * 3).to_json()
        >>> whole_of([{**same, "preprocess": pictures}, {**same, "model": "B", "preprocess": pictures}])["model"]
        'A+B'
    """
    # Pillow takes a while to import, and commands ask for these names before they know that they need it.
    from ulfine_cache.pictures.joined_preprocess import joined_preprocess
    from ulfine_cache.preprocess import Preprocess

    names = {key: BETWEEN.join(str(part[key]) for part in parts) for key in ("model", "pretrained")}
    precisions = [str(part["precision"]) for part in parts]
    return {
        **names,
        "weights_hash": joined_hash([str(part["weights_hash"]) for part in parts]),
        "preprocess": joined_preprocess([Preprocess.from_json(str(part["preprocess"])) for part in parts]).to_json(),
        "precision": precisions[0] if len(set(precisions)) == 1 else BETWEEN.join(precisions),
    }


def joined_hash(hashes: Sequence[str]) -> str:
    """The `weights_hash` of several encoders in this order: 64 hexadecimal digits."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
