"""The engine of many processes or machines: workers of a Ray cluster, each with an encoder or a model of its own."""

import os
import secrets
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ulfine_cache.atomic import reason, remove_partial_files
from ulfine_cache.encoding.batch_size import agreed_batch_size
from ulfine_cache.encoding.engines.engine import Describe, Done, Job, Settled, Work
from ulfine_cache.encoding.engines.engine_options import OF_RAY
from ulfine_cache.encoding.engines.ray_cluster import RayCluster, Room, how_many
from ulfine_cache.encoding.engines.ray_crew import Crew
from ulfine_cache.encoding.engines.ray_worker import number_format
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress
from ulfine_cache.store.layout import CACHE_FILE, SHARDS, WORKERS
from ulfine_cache.wording.counts import amount

_MOST_CORES = 8
"""More lanes one encoder does not run side by side."""


class RayEngine:
    """Workers of a Ray cluster, of which each makes one shard, or one part of predictions, at a time.

    A worker is a process with a model, and threads that read and decode for it. It answers with the number and the
    digest of a file, so nothing large crosses the network but what it writes. A worker that dies is started again
    by Ray, here or on another machine; the block that it was at goes to the next one that is free.

    Args:
        arguments: Of the call, by name: address, gpus_per_worker and cpus_per_worker.
        out: The folder that is written.
        describe: Says what workers are told of the work.
    """

    def __init__(self, arguments: Mapping[str, Any], out: Path, describe: Describe) -> None:
        self._asked = {name: arguments[name] for name in OF_RAY}
        self._out, self._describe = out.absolute(), describe
        self._device = ""
        self._cluster: RayCluster | None = None
        self._crew: Crew[Any] | None = None

    def settle(self, device: str, precision: str, progress: Progress) -> Settled:
        """Join the cluster, or start one, and see what a worker can have of it.

        Where a cache is there, which may be complete, and nothing has to be asked, `start` does so later.

        Raises:
            UlfineError: As `start`.
        """
        kind = self._kind(device) if (self._out / CACHE_FILE).is_file() else None
        self._device = kind or device
        if kind is None or (kind != "cpu" and precision == "auto"):
            self.start(progress)
        if precision == "auto" and self._device != "cpu":
            assert self._cluster is not None
            ray, wants = self._cluster.ray, self._wants
            asks = ray.remote(num_cpus=wants.cpus, num_gpus=wants.gpus, max_retries=3)(number_format)
            precision = ray.get(asks.remote(self._device, precision))
        here = self._device if self._device != "cuda" or _has_gpu() else "cpu"
        return Settled(here, precision, agreed_batch_size(self._device))

    def start(self, progress: Progress) -> None:
        """Join the cluster, or start one, unless that is done.

        Raises:
            UlfineError: There is no cluster, or no machine in it has room for a worker.
        """
        if self._cluster is not None:
            return
        progress.note("starting Ray" if not self._asked["address"] else "joining the Ray cluster")
        self._cluster = cluster = RayCluster(self._asked["address"])
        machines = cluster.machines()
        gpus = self._gpus(self._device, machines)
        if self._device == "auto":
            self._device = "cuda" if gpus else "cpu"
        self._wants = wants = Room(self._asked["cpus_per_worker"] or _cores(machines, gpus), gpus)
        count = sum(how_many(machine, wants) for machine in machines)
        each = amount(int(wants.cpus), "core") + (f" and {gpus:g} of a GPU" if gpus else "")
        if not count:
            largest = max(machines, key=lambda machine: (machine.gpus, machine.cpus), default=Room(0, 0))
            raise UlfineError(
                f"{cluster.name} has no room for one worker of {each} (the largest machine has "
                f"{amount(int(largest.cpus), 'core')} and {amount(int(largest.gpus), 'GPU')}): lower --cpus-per-worker "
                "or --gpus-per-worker, or let machines join it"
            )
        progress.note(f"{cluster.name}: {amount(len(machines), 'machine')}, up to {amount(count, 'worker')} of {each}")

    def make(self, work: Work[Done], todo: Sequence[int], progress: Progress) -> Generator[Done, None, None]:
        """Start the workers, and give each a block whenever it is free. It returns when the first is ready.

        Raises:
            UlfineError: As the local engine; or no worker is left, or one block ends every worker that makes it.
        """
        assert self._cluster is not None
        job: Job[Done] = self._describe(work, self._device, self._write_token())
        self._crew = crew = Crew(self._cluster, self._wants, job, progress)
        crew.start(len(todo))
        return crew.make(todo)

    def close(self) -> None:
        """End the workers, and with them what they were at."""
        try:
            if self._crew is not None:
                self._crew.close()
        finally:
            if self._cluster is not None:
                self._cluster.close()
            if self._crew is not None:
                (self._out / WORKERS).unlink(missing_ok=True)
                for folder in (self._out, self._out / SHARDS):
                    remove_partial_files(folder)
            self._crew = self._cluster = None

    def _write_token(self) -> str:
        token = secrets.token_hex(16)
        try:
            (self._out / WORKERS).write_text(token, encoding="ascii")
        except OSError as error:
            raise UlfineError(f"cannot write to {self._out}: {reason(error)}; choose another --out") from error
        return token

    def _kind(self, device: str) -> str | None:
        """The kind of device that workers run on, as far as it is known without a cluster."""
        if device != "auto":
            return device
        if self._asked["gpus_per_worker"] is not None:
            return "cuda" if self._asked["gpus_per_worker"] else "cpu"
        elsewhere = self._asked["address"] or os.environ.get("RAY_ADDRESS")
        return None if elsewhere else "cuda" if _has_gpu() else "cpu"

    def _gpus(self, device: str, machines: Sequence[Room]) -> float:
        asked: float | None = self._asked["gpus_per_worker"]
        if asked is not None:
            return asked
        if device == "cuda":
            return 1.0
        return 1.0 if device == "auto" and any(machine.gpus for machine in machines) else 0.0


def _cores(machines: Sequence[Room], gpus: float) -> int:
    """Cores for a worker where nobody says: its share of the machine that has the fewest for each."""
    if gpus:
        shares = [machine.cpus * gpus / machine.gpus for machine in machines if machine.gpus]
        return max(1, int(min(shares, default=1)))
    return max(1, min(_MOST_CORES, int(min((machine.cpus for machine in machines if machine.cpus >= 1), default=1))))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
