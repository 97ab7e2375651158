"""Which options of `cache-features` fit which engine."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from ulfine_cache.errors import UlfineError, UsageError

_OF_RAY = ("address", "gpus_per_worker", "cpus_per_worker")


def check_engine_options(arguments: Mapping[str, Any]) -> None:
    """Refuse before any work what cannot be done.

    Args:
        arguments: Of the call of `cache_features`, by name.

    Raises:
        UsageError: An option belongs to another engine.
        UlfineError: The engine is not installed.
    """
    if arguments["engine"] == "local":
        for name in _OF_RAY:
            if arguments[name] is not None:
                raise UsageError(f"--{name.replace('_', '-')} is for --engine ray: give that, too, or leave it out")
        return
    if arguments["shard_range"] is not None:
        raise UsageError("--shard-range is for processes of --engine local: with --engine ray leave it out")
    if arguments["device"].startswith("cuda:"):
        raise UsageError(f"--device {arguments['device']}: with --engine ray each worker has its own GPU: give cuda")
    if arguments["gpus_per_worker"] == 0 and arguments["device"] == "cuda":
        raise UsageError("--gpus-per-worker 0 leaves no GPU for --device cuda: give --device cpu, or another number")
    if find_spec("ray") is None:
        raise UlfineError("--engine ray needs Ray, which is not installed: pip install 'ulfine-fast[ray]'")
