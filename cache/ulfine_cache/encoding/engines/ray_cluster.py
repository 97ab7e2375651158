"""A Ray cluster, joined or started for one call: quiet, calling nobody, and gone afterwards if it was started here."""

import contextlib
import functools
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Generator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import psutil

from ulfine_cache.atomic import reason
from ulfine_cache.errors import UlfineError, UsageError

_LOCAL = "local"
_AUTO = "auto"
_CONNECTS = 5.0
"""Seconds; Ray itself would go on trying for minutes."""
_STORE = 80 * 2**20
"""Bytes of Ray's object store on this machine: no array ever goes through it, and less it does not take."""
_SETTINGS = {
    # Ray reports on its use to its makers unless it is told not to.
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_PLACES = "/tmp" if Path("/tmp").is_dir() else None
"""Where a cluster started here keeps its sockets, whose paths may be 107 bytes long: TMPDIR may be too deep."""


_OURS = "ulfine-ray-"


class Room(NamedTuple):
    """What one machine of the cluster has."""

    cpus: float
    gpus: float


def how_many(machine: Room, wants: Room) -> int:
    """Return how many workers a machine has room for."""
    by_cpus = int(machine.cpus // wants.cpus)
    return min(by_cpus, int(machine.gpus / wants.gpus + 1e-6)) if wants.gpus else by_cpus


class RayCluster:
    """A connection to a cluster.

    Args:
        address: "auto", "HOST:PORT", or None to start one on this machine.

    Raises:
        UlfineError: There is no cluster, or Ray does not start, in one line.
    """

    def __init__(self, address: str | None) -> None:
        self.ray, self._started_here, self._folder, self._saved = _import(), False, "", dict[str, str | None]()
        self._address = address or os.environ.get("RAY_ADDRESS") or _LOCAL
        # Whoever uses Ray in the same process keeps it.
        if self.ray.is_initialized():
            return
        if self._address not in (_LOCAL, _AUTO):
            _check_answers(self._address)
        self._started_here = True
        options: dict[str, Any] = {
            "address": self._address,
            "log_to_driver": False,
            "configure_logging": False,
            "logging_level": "ERROR",
        }
        if self._address == _LOCAL:
            _remove_orphans()
            self._folder = tempfile.mkdtemp(prefix=f"{_OURS}{os.getpid()}-", dir=_PLACES)
            options |= {"include_dashboard": False, "object_store_memory": _STORE, "_temp_dir": self._folder}
            # So that nobody else on this machine or network can use the cluster. Ray would write one into the home.
            settings = {"RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN") or _secret()}
            # The workers find the same modules.
            settings |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
            # Ray sets it itself.
            self._saved["RAY_AUTH_MODE"] = os.environ.get("RAY_AUTH_MODE")
        else:
            settings = {}
        self._set(_SETTINGS | settings)
        try:
            with _handlers_kept():
                self.ray.init(**options)
        except BaseException as error:
            self.close()
            if isinstance(error, Exception):
                raise _no_cluster(self._address, error) from error
            raise

    def machines(self) -> list[Room]:
        """Return what each machine has that is there now."""
        alive = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return [Room(float(found.get("CPU", 0)), float(found.get("GPU", 0))) for found in alive]

    @property
    def name(self) -> str:
        """What it is called in notes."""
        return "Ray on this machine" if self._address == _LOCAL else f"the Ray cluster {self._address}"

    def close(self) -> None:
        """Leave it; one that was started here ends with all of its processes and files."""
        if self._started_here:
            self._started_here = False
            with _handlers_kept():
                self.ray.shutdown()
            self._set(self._saved)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _set(self, values: "dict[str, str] | dict[str, str | None]") -> None:
        for name, value in values.items():
            self._saved.setdefault(name, os.environ.get(name))
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _remove_orphans() -> None:
    """Remove what calls have left that were killed."""
    for folder in Path(tempfile.gettempdir() if _PLACES is None else _PLACES).glob(f"{_OURS}[0-9]*-*"):
        process = folder.name.removeprefix(_OURS).partition("-")[0]
        if process.isdigit() and not psutil.pid_exists(int(process[:9])):
            shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _secret() -> str:
    """One for this process: Ray reads it once."""
    return secrets.token_hex(32)


def _import() -> ModuleType:
    os.environ.update({name: value for name, value in _SETTINGS.items() if name not in os.environ})
    hook = sys.excepthook
    try:
        import ray
        import ray._private.worker as private
    except ImportError as error:
        raise UlfineError("--engine ray needs Ray, which is not installed: pip install 'ulfine-fast[ray]'") from error
    sys.excepthook = hook
    logging.getLogger("ray").setLevel(logging.ERROR)
    # It prints what happens to processes on standard output, where figures belong.
    private.print_to_stdstream = lambda *_, **__: None
    return ray


@contextlib.contextmanager
def _handlers_kept() -> Generator[None]:
    """Give the signals back to whoever had them before Ray."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def _no_cluster(address: str, error: Exception) -> UlfineError:
    why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if address == _LOCAL:
        return UlfineError(f"Ray does not start on this machine: {why}")
    if address == _AUTO:
        return UlfineError(
            "--address auto: no Ray cluster runs on this machine: start one (`ray start --head`), give its HOST:PORT, "
            "or leave --address out to use this machine alone"
        )
    return _no_answer(address, why)


def _check_answers(address: str) -> None:
    """Refuse an address at which nothing listens.

    Raises:
        UsageError: It is no address.
        UlfineError: Nothing is there.
    """
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise UsageError(
            f"--address {address!r} is no address: give auto, or the HOST:PORT that `ray start --head` tells, on a "
            "machine that has joined the cluster"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECTS).close()
    except (OSError, UnicodeError) as error:
        raise _no_answer(address, reason(error)) from error


def _no_answer(address: str, why: str) -> UlfineError:
    return UlfineError(
        f"no Ray cluster answers at {address} ({why}): give the HOST:PORT that `ray start --head` tells, on a machine "
        "that has joined it, or leave --address out to use this machine alone"
    )
