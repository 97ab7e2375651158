"""What a cache directory was asked to hold, and the refusal to mix two requests in one directory."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ulfine_cache.errors import UlfineError
from ulfine_cache.store.layout import SHARDS
from ulfine_cache.store.shards import read_header

_LONG = 60


def existing_plan(cache: Path) -> dict[str, Any] | None:
    """Return the plan that the shards of a directory were made with, or None where there is no readable shard."""
    for path in sorted((cache / SHARDS).glob("*.h5")):
        try:
            return read_header(path).plan
        except UlfineError:
            continue
    return None


def refuse_other_plan(cache: Path, plan: Mapping[str, Any]) -> None:
    """Refuse a directory that holds features made in another way.

    Args:
        cache: The directory to write to.
        plan: What is asked for; values are compared one by one.

    Raises:
        UlfineError: They differ; the line says in what, old to new.
    """
    old = existing_plan(cache)
    if old is None:
        return
    names = [name for name in dict.fromkeys([*plan, *old]) if old.get(name) != plan.get(name)]
    # The same weights from a file of another name are the same weights, and batches only differ in rounding.
    if set(names) <= {"pretrained", "batch size"}:
        return
    changes = ", ".join(f"{name} {_short(old.get(name))} -> {_short(plan.get(name))}" for name in names)
    raise UlfineError(f"{cache} holds features made in another way ({changes}): choose another --out")


def _short(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= _LONG else f"{text[: _LONG - 3]}..."
