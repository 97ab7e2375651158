"""What a cache directory was asked to hold, and the refusal to mix two requests in one directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ulfine_cache.errors import UlfineError
from ulfine_cache.remote.failures import StorageError
from ulfine_cache.store.layout import FORMER, SHARDS
from ulfine_cache.store.shards import read_header

WORDS = ("templates", "classes")
"""What is asked of the text encoder alone: other words leave the features of images as they are."""
_NO_MATTER = ("pretrained", "batch_size")
"""The same weights from a file of another name are the same weights, and batches only differ in rounding."""
_LONG = 60


def existing_request(cache: Path) -> dict[str, Any] | None:
    """Return the request that the shards of a directory were made for, or None where there is no readable shard."""
    for path in [*sorted((cache / SHARDS).glob("*.h5")), *sorted((cache / FORMER).glob("*.h5"))]:
        try:
            return read_header(path).request
        except StorageError:
            raise
        except UlfineError:
            continue
    return None


def refuse_other_request(cache: Path, request: Mapping[str, Any]) -> None:
    """Refuse a directory that holds features made in another way; other words for the classes are no other way.

    Args:
        cache: The directory to write to.
        request: What is asked for; values are compared one by one.

    Raises:
        UlfineError: They differ; the line says in what, old to new.
    """
    old = existing_request(cache)
    if old is None:
        return
    names = [name for name in dict.fromkeys([*request, *old]) if old.get(name) != request.get(name)]
    if set(names) <= {*WORDS, *_NO_MATTER}:
        return
    changes = ", ".join(
        f"{name.replace('_', ' ')} {_short(old.get(name))} -> {_short(request.get(name))}" for name in names
    )
    raise UlfineError(f"{cache} holds features made in another way ({changes}): choose another --out")


def same_words(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Say whether two requests ask the text encoder the same; a shard of another one is written again."""
    return all(old.get(name) == new.get(name) for name in WORDS)


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."
