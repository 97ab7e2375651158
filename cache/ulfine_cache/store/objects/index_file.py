"""`index.json`: what a cache on object storage holds and where; written last, in one step.

There is no rename there, so `cache.h5` cannot appear in the place of another together with its index. It and the FAISS
index therefore lie under a name of their content, `whole/<digits>/`, and this file says which of them counts.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ulfine_cache.errors import UlfineError

INDEX = "index.json"
"""Its name, below the URL of the cache. While it is absent the cache is unfinished."""

WHOLE = "whole"
"""Folder of what is about all shards."""

_FORMAT = "ulfine-fast cache"
_VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Part:
    """A file of a cache.

    Attributes:
        name: Where it is in a local copy, relative to the cache, such as ``shards/00000.h5``.
        at: Where it is on the storage, relative to the cache's URL.
        bytes: Its size.
        sha256: 64 hexadecimal digits.
        rows: Of a shard; 0 of all else.
    """

    name: str
    at: str
    bytes: int
    sha256: str
    rows: int = 0


@dataclass(frozen=True)
class CacheIndex:
    """All files of a finished cache but its splits.

    Attributes:
        fingerprint: Of the cache.
        files: What is about all shards.
        shards: In the order of the rows.
    """

    fingerprint: str
    files: Sequence[Part]
    shards: Sequence[Part]

    def part(self, name: str) -> Part | None:
        """Return a file by its name in a local copy, or None."""
        return next((part for part in (*self.files, *self.shards) if part.name == name), None)

    def to_bytes(self) -> bytes:
        """Return the file; a line for each part."""
        head = {"format": _FORMAT, "version": _VERSION, "fingerprint": self.fingerprint}
        lines = [f' "{key}": {json.dumps(value)},' for key, value in head.items()]
        for key, parts in (("files", self.files), ("shards", self.shards)):
            rows = ",\n".join(f"  {json.dumps(vars(part))}" for part in parts)
            lines.append(f' "{key}": [\n{rows}\n ]{"," if key == "files" else ""}')
        return ("{\n" + "\n".join(lines) + "\n}\n").encode()

    @classmethod
    def parsed(cls, data: bytes, where: str) -> "CacheIndex":
        """Read the file.

        Args:
            data: Its bytes.
            where: Its URL, for messages.

        Raises:
            UlfineError: It is damaged, of a later version, or names what is not below the cache.
        """
        try:
            said: Any = json.loads(data)
            if said["format"] == _FORMAT and said["version"] > _VERSION:
                raise UlfineError(f"{where} was written by a later version of ulfine-fast: take that one")
            if (said["format"], said["version"]) != (_FORMAT, _VERSION):
                raise ValueError(said["format"])
            files, shards = ([Part(**part) for part in said[key]] for key in ("files", "shards"))
            if not all(map(_is_sound, (*files, *shards))):
                raise ValueError("parts")
            return cls(str(said["fingerprint"]), files, shards)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UlfineError(
                f"{where} is damaged: run the command that made the cache again, it keeps the shards"
            ) from error


def _is_sound(part: Part) -> bool:
    # Nobody has checked what the file says.
    said: dict[str, Any] = vars(part)
    return (
        all(isinstance(said[key], str) and _NAME.fullmatch(said[key]) for key in ("name", "at"))
        and all(isinstance(said[key], int) and said[key] >= 0 for key in ("bytes", "rows"))
        and isinstance(said["sha256"], str)
        and _SHA256.fullmatch(said["sha256"]) is not None
    )
