"""Which engine a call of `cache_features` asks for."""

from collections.abc import Mapping
from typing import Any

from ulfine_cache.encoding.engines.engine import Engine
from ulfine_cache.encoding.engines.local_engine import LocalEngine


def open_engine(arguments: Mapping[str, Any]) -> Engine:
    """Return the engine; it does nothing before it is settled, and is to be closed.

    Args:
        arguments: Of the call, by name.
    """
    if arguments["engine"] == "local":
        return LocalEngine()
    from ulfine_cache.encoding.engines.ray_engine import RayEngine

    return RayEngine(arguments)
