"""Which options fit which engine."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from ulfine_cache.errors import UlfineError, UsageError

OF_RAY = ("address", "gpus_per_worker", "cpus_per_worker")
"""Arguments that say what workers of a Ray cluster are, in every command that has them."""


def check_engine_options(arguments: Mapping[str, Any]) -> None:
    """Refuse before any work what cannot be done.

    Args:
        arguments: Of the call, by name: engine and `OF_RAY`, and where a command has them device and shard_range.

    Raises:
        UsageError: An option belongs to another engine.
        UlfineError: The engine is not installed.
    """
    if arguments["engine"] == "local":
        for name in OF_RAY:
            if arguments[name] is not None:
                raise UsageError(f"--{name.replace('_', '-')} is for --engine ray: give that, too, or leave it out")
        return
    device = arguments.get("device", "auto")
    if arguments.get("shard_range") is not None:
        raise UsageError("--shard-range is for processes of --engine local: with --engine ray leave it out")
    if device.startswith("cuda:"):
        raise UsageError(f"--device {device}: with --engine ray each worker has its own GPU: give cuda")
    if arguments["gpus_per_worker"] == 0 and device == "cuda":
        raise UsageError("--gpus-per-worker 0 leaves no GPU for --device cuda: give --device cpu, or another number")
    if find_spec("ray") is None:
        raise UlfineError("--engine ray needs Ray, which is not installed: pip install 'ulfine-fast[ray]'")
