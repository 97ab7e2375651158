"""The digest that an exported file carries about itself, so that damage is noticed before anything is answered.

It stands in the file's own `metadata_props` under `KEY`. Readers of other projects can compute it with onnx alone, see
`exports/README.md`.
"""

import hashlib
from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from onnx import ModelProto, StringStringEntryProto

KEY = "content_sha256"
"""The metadata key."""


def content_digest(model: "ModelProto") -> str:
    """Return the SHA-256 of all that a model holds besides its digest, as 64 hexadecimal digits.

    The order of the metadata does not count, for tools that only read and write a file change it.

    Args:
        model: Any model; it is as before afterwards.

    Example:
        >>> import onnx
        >>> model = onnx.load("model.onnx")
        >>> content_digest(model) == {item.key: item.value for item in model.metadata_props}["content_sha256"]
        True
    """
    kept = _without(model, None)
    counted = sorted(_without(model, KEY), key=lambda item: item.SerializeToString(deterministic=True))
    try:
        _set_metadata(model, counted)
        return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
    finally:
        _set_metadata(model, kept)


def add_digest(model: "ModelProto") -> None:
    """Write the digest of a model into its metadata, instead of an earlier one."""
    remove_digest(model)
    model.metadata_props.add(key=KEY, value=content_digest(model))


def remove_digest(model: "ModelProto") -> None:
    """Take the digest out of a model that was changed on purpose, so that it can be read again."""
    _set_metadata(model, _without(model, KEY))


def check_digest(model: "ModelProto", name: str) -> None:
    """Compare a model with the digest that it carries; one that carries none is let through.

    Args:
        model: As it was read.
        name: The file's name, for the error message.

    Raises:
        UlfineError: They differ.
    """
    recorded = [item.value for item in model.metadata_props if item.key == KEY]
    if recorded and recorded != [content_digest(model)]:
        raise UlfineError(
            f"{name} has changed since it was exported (SHA-256): it is damaged, or a tool has rewritten it; export it "
            f"again, or, where the change is meant, remove {KEY} from its metadata (see docs/security.md)"
        )


def _without(model: "ModelProto", key: str | None) -> "list[StringStringEntryProto]":
    """Copies of the entries but that of `key`, as they are: damage may have left text that is not UTF-8."""
    entries = [item for item in model.metadata_props if item.key != key]
    copies = [type(item)() for item in entries]
    for copy, item in zip(copies, entries, strict=True):
        copy.CopyFrom(item)
    return copies


def _set_metadata(model: "ModelProto", items: "list[StringStringEntryProto]") -> None:
    del model.metadata_props[:]
    model.metadata_props.extend(items)
