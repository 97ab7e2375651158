"""Where a run comes from: its cache, its split, the versions and the time."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ulfine_cache.remote.places import named
from ulfine_fast.version import __version__

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.splits import Split


def describe_cache(cache: FeatureCache) -> dict[str, Any]:
    """What a run remembers of its cache: where it was, its fingerprint and how its features were made."""
    return {
        **cache.attributes,
        "path": named(cache.path.absolute()),
        "fingerprint": cache.fingerprint,
        "n_features": cache.n_features,
    }


def describe_split(split: Split) -> dict[str, Any]:
    """What a run remembers of its split: name, protocol (with its seed) and sizes."""
    sizes = {name: len(getattr(split, name)) for name in ("labelled", "unlabelled", "val", "test")}
    return {"name": split.name, "protocol": split.protocol, **sizes}


def stamp() -> dict[str, Any]:
    """Versions of what computed, and the time in UTC."""
    import torch

    versions = {
        "ulfine-fast": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    return {"versions": versions, "created": datetime.now(UTC).isoformat(timespec="seconds")}
