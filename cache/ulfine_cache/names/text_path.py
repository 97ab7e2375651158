"""Paths for libraries that take text alone."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

from ulfine_cache.names.written import readable


@contextlib.contextmanager
def text_path(path: Path) -> Generator[str]:
    """Give a path to the same place that is valid Unicode, as FAISS and safetensors ask for.

    A name on Linux may be any bytes. Where a folder's is no UTF-8, the system's own name for it once it is open serves.

    Args:
        path: A file in a folder that exists; its own name is UTF-8.

    Yields:
        The path as text, valid until the block ends.

    Raises:
        OSError: The folder cannot be opened.
    """
    if readable(str(path)) == str(path):
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
