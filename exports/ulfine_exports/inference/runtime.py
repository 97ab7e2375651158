"""onnxruntime, which is imported here and nowhere else: with its telemetry off."""

import os
from typing import Any


def onnxruntime_without_telemetry() -> Any:
    """Import onnxruntime such that it neither writes nor sends anything about this machine.

    onnxruntime-gpu 1.31 writes a device id and a queue of events below the home folder when it is imported, unless an
    environment variable of its own says no; the function of its interface, which comes too late for that, ends the
    collection where others imported it before.

    Returns:
        The module.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime
