"""What a call of `cache_features` asks for, as a cache remembers it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.encoders.prompts import ClassText
from ulfine_cache.pictures.pixel_range import parse_pixel_range
from ulfine_cache.pictures.views import first_view
from ulfine_cache.remote.places import absolute_name
from ulfine_cache.store.same_request import existing_request

AUTO = "auto"

_OF_THE_CALL = (
    *("out", "strict", "progress"),
    *("engine", "address", "gpus_per_worker", "cpus_per_worker", "shard_range"),
)
"""Arguments that change nothing about the features."""

_WHERE_GIVEN = ("preprocess", "mean", "std", "interpolation", "group_column")
"""Arguments that are recorded only where they are given."""


class Request:
    """One call of `cache_features`, with what its encoder and its files of words turned out to be.

    Args:
        arguments: The call's arguments by name.
        encoder: The encoder that they name.
        templates: The prompts' templates that they name.
        texts: The classes and their words.

    Attributes:
        arguments: The call's arguments by name.
        record: What decides about the features: stored in every shard, and refused where it differs from that of an
            earlier call (`ulfine_cache.store.same_request`). ``"batch_size"`` is None until one has been found.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        encoder: ClipEncoder,
        templates: Sequence[str],
        texts: Sequence[ClassText],
    ) -> None:
        self.arguments = arguments
        self._encoder = encoder
        asked = arguments["batch_size"]
        pixel_range = parse_pixel_range(arguments["pixel_range"])
        self.record: dict[str, Any] = {
            "command": "cache-features",
            "model": encoder.model_name,
            "pretrained": Path(encoder.pretrained).name,
            "weights": encoder.weights_hash[:16],
            "preprocess": first_view(arguments["views"], encoder.preprocess).to_json(),
            "precision": encoder.precision,
            "views": arguments["views"],
            "templates": named_by_content(arguments["templates"], templates),
            "classes": named_by_content("file", [str(text) for text in texts])
            if arguments["classes"]
            else "folder names",
            "shard_size": arguments["shard_size"],
            # Kept by later calls, because other batches round a feature otherwise.
            "batch_size": (existing_request(arguments["out"]) or {}).get("batch_size") if asked == AUTO else asked,
            # Left out where they are not asked for.
            **({"pre_projection": True} if arguments["pre_projection"] else {}),
            **({"jpeg_draft": True} if arguments["jpeg_draft"] else {}),
            **({"pixel_range": str(pixel_range)} if pixel_range else {}),
        }

    def call(self) -> dict[str, Any]:
        """What the record does not say of the call: together they make the cache again, in any directory."""
        asked = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in self.arguments.items()
            if name not in _OF_THE_CALL and not (name in _WHERE_GIVEN and value is None)
        }
        files = {name: absolute_name(Path(asked[name])) for name in ("source", "classes", "root") if asked[name]}
        if Path(asked["templates"]).is_file():
            files["templates"] = str(Path(asked["templates"]).resolve())
        chosen = {"pretrained": self._encoder.pretrained, "precision": self._encoder.precision}
        whole = asked | files | chosen | {"batch_size": self.record["batch_size"]}
        return {name: value for name, value in whole.items() if value != self.record.get(name)}


def named_by_content(name: str, content: Sequence[str]) -> str:
    """Return a name that changes with the content, unless the name itself is the content."""
    if name in ("simple", "imagenet"):
        return name
    digest = hashlib.sha256(json.dumps(list(content)).encode()).hexdigest()[:16]
    return f"{Path(name).name} {digest}"
