"""Stage one: images in, CLIP features out.

What other code calls is handed on lazily, so that importing the package costs nothing:

    from ulfine_cache import FeatureCache, cache_features, make_split
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_cache.preprocess import Preprocess
    from ulfine_cache.splits import make_split
    from ulfine_cache.stage_one import cache_features

__all__ = ["FeatureCache", "Preprocess", "cache_features", "make_split"]

# Not `import_features`: the module of that name is public, and importing it would replace the function here.
_HOME = {
    "FeatureCache": "ulfine_cache.feature_cache",
    "Preprocess": "ulfine_cache.preprocess",
    "cache_features": "ulfine_cache.stage_one",
    "make_split": "ulfine_cache.splits",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
