"""What the versions of the cache format call things: each reader asks here, and newer files are refused.

Version 1 had no version in shards and splits, called a row's set `split`, and knew a request by two records: `plan` in
the shards, and `request`, the whole call, in `cache.h5`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ulfine_cache.errors import UlfineError
from ulfine_cache.store.layout import SCHEMA_VERSION

_NAMES_IN_VERSION_1 = {
    "made by": "command",
    "file": "sha256",
    "shard size": "shard_size",
    "batch size": "batch_size",
    "features before projection": "pre_projection",
    "jpeg draft": "jpeg_draft",
    "text features": "text_features",
}
"""Keys of a plan, and what they are called since."""


_FOUND_OUT = ("command", "weights", "preprocess")
"""What a request records that is no argument of the command."""


def version_of(file: h5py.File, path: Path) -> int:
    """Return the version of the format of an open file.

    Args:
        file: A shard, a split or `cache.h5`.
        path: Its name, for the error.

    Raises:
        UlfineError: It was written by a later version of this program.
    """
    version = int(np.asarray(file.attrs.get("schema_version", 1)))
    if not 1 <= version <= SCHEMA_VERSION:
        raise UlfineError(
            f"{path} has cache format {version}, and this version of ulfine-fast reads 1 to {SCHEMA_VERSION}: take a "
            "newer one, or make the cache again"
        )
    return version


def set_dataset(file: h5py.File) -> str:
    """Return the name of the dataset with the rows' sets."""
    return "set" if "set" in file else "split"


def request_of(file: h5py.File) -> dict[str, Any]:
    """Return what a shard's features were asked to be, by the names of the command's parameters.

    Raises:
        KeyError: The file does not say.
    """
    if "request" in file.attrs:
        return json.loads(np.asarray(file.attrs["request"]).tobytes())
    plan: dict[str, Any] = json.loads(np.asarray(file.attrs["plan"]).tobytes())
    return {_NAMES_IN_VERSION_1.get(name, name): value for name, value in plan.items()}


def call_of(attributes: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of the call that made a cache, or None where they are not recorded.

    Args:
        attributes: Those of `cache.h5`.

    Returns:
        Arguments of `cache_features` by name, or for an import ``file``, ``sha256`` and ``text_features``.
    """
    if "request" not in attributes:
        return None
    request = json.loads(str(attributes["request"]))
    asked: dict[str, Any] = {name: value for name, value in request.items() if name not in _FOUND_OUT}
    rest: dict[str, Any] = json.loads(str(attributes.get("call", "{}")))
    return asked | rest
