"""Which execution provider of onnxruntime really runs, as opposed to which one was asked for.

onnxruntime-gpu lists CUDA as available on machines without it, answers a session that asks for CUDA with one that
runs on the CPU, and says so only in its log. Here a session that was to run on CUDA and does not is an error.
"""

import contextlib
import ctypes
import io
import math
import os
import sys
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_exports.inference.runtime import onnxruntime_without_telemetry

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Device = Literal["auto", "cpu", "cuda"]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_FATAL = 4
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class OpenSession:
    """A session and what it runs on.

    Attributes:
        session: The onnxruntime session.
        device: ``"cpu"`` or ``"cuda"``: what it really uses.
        providers: The execution providers that the session holds, first choice first.
        reason: Why ``auto`` chose this device; ``"asked for"`` otherwise.
        timeout: Seconds that a batch may take; None for no bound.
    """

    session: "InferenceSession"
    device: Literal["cpu", "cuda"]
    providers: tuple[str, ...]
    reason: str
    timeout: float | None = None

    def run(
        self, batch: NDArray[Any], outputs: Sequence[str] = ("probabilities", "logits")
    ) -> tuple[NDArray[np.float32], ...]:
        """Feed the one input; the outputs that are named, float32, by default probabilities and logits, (n, C) each.

        Raises:
            UlfineError: It takes longer than `timeout`.
        """
        name = self.session.get_inputs()[0].name
        options = onnxruntime_without_telemetry().RunOptions()
        with _terminated_after(self.timeout, options) as late:
            try:
                found = self.session.run(list(outputs), {name: batch}, options)
            except Exception as error:  # onnxruntime's errors share no class of their own
                if not late.is_set():
                    raise
                raise UlfineError(
                    f"a batch of {len(batch)} takes longer than {self.timeout:g} seconds: the file may never end, or "
                    "give --timeout more"
                ) from error
        return tuple(cast("list[NDArray[np.float32]]", found))


@contextlib.contextmanager
def _terminated_after(seconds: float | None, options: Any) -> Generator[threading.Event]:
    """Let onnxruntime give up after some seconds: it looks at `terminate` before every operator, in loops as well."""
    late = threading.Event()
    if seconds is None:
        yield late
        return

    def give_up() -> None:
        late.set()
        options.terminate = True

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def open_session(
    model: bytes, device: Device = "auto", *, threads: int | None = None, spinning: bool = True
) -> OpenSession:
    """Open an onnxruntime session for a model held in memory.

    Args:
        model: Serialised ONNX model.
        device: ``"auto"`` takes CUDA where a session really gets it, else the CPU; ``"cuda"`` insists.
        threads: CPU threads for one operator; None takes `usable_cpus`.
        spinning: Let threads that wait for the next operator keep their CPU: faster where nothing else runs there.

    Raises:
        UsageError: Unknown device.
        UlfineError: onnxruntime cannot load the model, or CUDA was asked for and cannot be had.
    """
    if device not in get_args(Device):
        raise UsageError(f"unknown device {device!r}: choose one of {', '.join(get_args(Device))}")
    reason = "asked for"
    if device != "cpu":
        obstacle = _cuda_obstacle()
        session = None if obstacle else _create(model, [_CUDA, _CPU], threads, spinning)
        if session is not None and session.get_providers()[0] == _CUDA:
            return OpenSession(session, "cuda", tuple(session.get_providers()), "CUDA works")
        obstacle = obstacle or "its CUDA or cuDNN libraries do not load"
        if device == "cuda":
            raise UlfineError(f"onnxruntime cannot use CUDA: {obstacle}; use --device cpu or auto")
        reason = f"no CUDA: {obstacle}"
    session = _create(model, [_CPU], threads, spinning)
    return OpenSession(session, "cpu", tuple(session.get_providers()), reason)


def usable_cpus() -> int:
    """CPUs that this process may use; a container's share can be smaller than the machine."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        # Linux, cgroup 2: microseconds of CPU in each period of so many, "max" where nothing is set.
        quota, period = _CPU_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cpus, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):
        return max(1, cpus)


def _create(model: bytes, providers: list[str], threads: int | None, spinning: bool) -> "InferenceSession":
    onnxruntime = onnxruntime_without_telemetry()
    options = onnxruntime.SessionOptions()
    # One pool as wide as the CPUs this process may use: by default onnxruntime counts the machine's cores.
    options.intra_op_num_threads = threads or usable_cpus()
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    # Every failure is raised or compared here; the log would only repeat it over the command's output.
    options.log_severity_level = _FATAL
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime's errors share no class of their own
        raise UlfineError(
            f"onnxruntime cannot load the model ({str(error).splitlines()[0]}): export it again"
        ) from error


def _cuda_obstacle() -> str:
    """Say why CUDA cannot work here, or ``""``. Asking a session for it would fill stderr instead."""
    onnxruntime = onnxruntime_without_telemetry()
    if _CUDA not in onnxruntime.get_available_providers():
        return "this onnxruntime was built without it"
    driver = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(driver)
        count = ctypes.c_int(0)
        if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
            return "the NVIDIA driver sees no GPU"
    except OSError:
        return "no NVIDIA driver"
    # Finds the libraries inside pip's nvidia packages; prints what it misses, which the session check covers.
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
        onnxruntime.preload_dlls()
    return ""
