"""The keys with which a server lets itself be asked."""

import hmac
import re
from pathlib import Path

from ulfine_cache.errors import UlfineError
from ulfine_cache.sources.trees.regular_file import open_regular

_KEY = re.compile(rb"[\x21-\x7e]+")
_MOST = 2**16


class ApiKeys:
    """Keys of a file, one a line.

    Args:
        path: The file; empty lines, and spaces around a key, do not count.

    Raises:
        UlfineError: The file cannot be read, holds no key, or one that cannot be sent.

    Example:
        >>> file = Path("key.txt")
        >>> _ = file.write_text("correct-horse-battery-staple")
        >>> ApiKeys(file).allow("Bearer correct-horse-battery-staple")
        True
    """

    def __init__(self, path: Path) -> None:
        try:
            with open_regular(str(path)) as file:
                data = file.read(_MOST + 1)
        except OSError as error:
            raise UlfineError(f"cannot read the keys in {path}: {(error.strerror or str(error)).lower()}") from error
        if len(data) > _MOST:
            raise UlfineError(f"{path} is over {_MOST // 1024} kB: give a file of keys, one a line")
        self._keys = [line.strip() for line in data.splitlines() if line.strip()]
        if not self._keys:
            raise UlfineError(f"{path} holds no key: write one a line, such as what `openssl rand -hex 32` prints")
        for number, key in enumerate(self._keys, start=1):
            # The key itself is not shown: errors end up in logs.
            if not _KEY.fullmatch(key):
                raise UlfineError(f"key {number} of {path} holds a space or a character outside ASCII: write another")

    def allow(self, header: str) -> bool:
        """Whether this header ``Authorization`` holds one of the keys."""
        scheme, _, given = header.partition(" ")
        # All of them, in a time that does not depend on how much of one is right.
        found = [hmac.compare_digest(given.strip().encode("latin-1", "replace"), key) for key in self._keys]
        return scheme.lower() == "bearer" and any(found)
