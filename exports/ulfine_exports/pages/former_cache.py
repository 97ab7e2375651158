"""The cache that a run was fitted on, where it is still there."""

from pathlib import Path
from typing import TYPE_CHECKING

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache


def former_cache(path: Path, fingerprint: str | None = None) -> "tuple[FeatureCache | None, str]":
    """Open the cache that a run was fitted on, as far as it is still there and still the same.

    Args:
        path: Where it was.
        fingerprint: What it said then; None accepts any.

    Returns:
        The cache and ""; or None and why there is none, as a sentence without a full stop.
    """
    from ulfine_cache.feature_cache import FeatureCache

    try:
        cache = FeatureCache.open(path)
    except (UlfineError, OSError) as error:
        return None, str(error)
    if fingerprint is not None and cache.fingerprint != fingerprint:
        return None, f"the cache {path} has changed since the run was fitted"
    return cache, ""
