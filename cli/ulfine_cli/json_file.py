"""Figures as a JSON file that is either complete or not there."""

import errno
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from ulfine_cache.atomic import replacing


def prepare_json(path: Path) -> None:
    """Make sure that `path` can be written, before hours of work depend on it.

    Args:
        path: The file to be written later; missing parent directories are made.

    Raises:
        OSError: The place cannot be written, or `path` is a directory.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if _is_device(path):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        # The user knows the file that was asked for, not the temporary one beside it.
        raise type(error)(error.errno, error.strerror, str(path)) from error


def write_json(path: Path, figures: dict[str, Any]) -> None:
    """Write `figures` as JSON, atomically.

    Values that are not finite become null, for JSON has no word for them. Devices and pipes, such as
    ``/dev/stdout``, are written in place.

    Raises:
        UlfineError: The file could not be written; an older file of the same name is still whole.
        OSError: The device or pipe could not be written.
    """
    text = json.dumps(_finite(figures), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name that is no Unicode holds lone surrogates: Python's escape for them is JSON's escape, too.
    content = text.encode("utf-8", errors="backslashreplace")
    if _is_device(path):
        try:
            path.write_bytes(content)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, str(path)) from error
        return
    with replacing(path) as partial:
        partial.write_bytes(content)


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
