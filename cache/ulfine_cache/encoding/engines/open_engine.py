"""Which engine a call asks for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ulfine_cache.encoding.engines.engine import Describe, Engine
from ulfine_cache.encoding.engines.local_engine import LocalEngine


def open_engine(arguments: Mapping[str, Any], out: Path, describe: Describe) -> Engine:
    """Return the engine; it does nothing before it is settled, and is to be closed.

    Args:
        arguments: Of the call, by name: engine, address, gpus_per_worker and cpus_per_worker.
        out: The folder that is written.
        describe: Says what workers elsewhere are told of the work.
    """
    if arguments["engine"] == "local":
        return LocalEngine()
    from ulfine_cache.encoding.engines.ray_engine import RayEngine

    return RayEngine(arguments, out, describe)
