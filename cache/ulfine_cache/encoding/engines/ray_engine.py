"""The engine of many processes or machines: workers of a Ray cluster, each with an encoder of its own."""

import secrets
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ulfine_cache.atomic import reason, remove_partial_files
from ulfine_cache.encoding.batch_size import agreed_batch_size
from ulfine_cache.encoding.engines.engine import Settled
from ulfine_cache.encoding.engines.ray_cluster import RayCluster, Room, how_many
from ulfine_cache.encoding.engines.ray_crew import Crew
from ulfine_cache.encoding.engines.ray_worker import number_format
from ulfine_cache.encoding.shard_work import ShardDone, ShardWork
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress
from ulfine_cache.remote.places import named
from ulfine_cache.store.layout import SHARDS, WORKERS
from ulfine_cache.wording.counts import amount

_MOST_CORES = 8
"""More lanes one encoder does not run side by side."""


class RayEngine:
    """Workers of a Ray cluster, of which each makes one shard at a time.

    A worker is a process with an encoder, and threads that read and decode for it. It answers with the number and the
    digest of a shard, so nothing large crosses the network but what it writes. A worker that dies is started again
    by Ray, here or on another machine; the shard that it was at goes to the next one that is free.

    Args:
        arguments: Of the call of `cache_features`, by name.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = {name: value for name, value in arguments.items() if name != "progress"}
        # Workers have other working directories.
        for name in ("source", "out", "root", "classes"):
            path: Path | None = self._arguments[name]
            # As text: a URL's local copies may be elsewhere there.
            self._arguments[name] = path and named(path.absolute())
        kind, _, folder = self._arguments["model"].partition(":")
        if kind == "local-dir":
            self._arguments["model"] = f"{kind}:{Path(folder).absolute()}"
        if Path(self._arguments["pretrained"]).is_file():
            self._arguments["pretrained"] = str(Path(self._arguments["pretrained"]).absolute())
        self._out = arguments["out"].absolute()
        self._cluster: RayCluster | None = None
        self._crew: Crew | None = None

    def settle(self, device: str, precision: str, progress: Progress) -> Settled:
        """Join the cluster, or start one, and see what a worker can have of it.

        Raises:
            UlfineError: There is no cluster, or no machine in it has room for a worker.
        """
        import torch

        progress.note("starting Ray" if not self._arguments["address"] else "joining the Ray cluster")
        self._cluster = cluster = RayCluster(self._arguments["address"])
        machines = cluster.machines()
        gpus = self._gpus(device, machines)
        kind = ("cuda" if gpus else "cpu") if device == "auto" else device
        self._wants = wants = Room(self._arguments["cpus_per_worker"] or _cores(machines, gpus), gpus)
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
        if precision == "auto" and kind != "cpu":
            asks = cluster.ray.remote(num_cpus=wants.cpus, num_gpus=wants.gpus, max_retries=3)(number_format)
            precision = cluster.ray.get(asks.remote(kind, precision))
        here = kind if kind != "cuda" or torch.cuda.is_available() else "cpu"
        self._arguments |= {"device": kind}
        return Settled(here, precision, agreed_batch_size(kind))

    def encode(self, work: ShardWork, todo: Sequence[int], progress: Progress) -> Generator[ShardDone, None, None]:
        """Start the workers, and give each a shard whenever it is free. It returns when the first is ready.

        Raises:
            UlfineError: As the local engine; or no worker is left, or one shard ends every worker that makes it.
        """
        assert self._cluster is not None
        self._crew = Crew(self._cluster, self._wants, self._arguments, work, self._write_token(), progress)
        self._crew.start(len(todo))
        return self._crew.make(todo)

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
                remove_partial_files(self._out / SHARDS)
            self._crew = self._cluster = None

    def _write_token(self) -> str:
        token = secrets.token_hex(16)
        try:
            (self._out / WORKERS).write_text(token, encoding="ascii")
        except OSError as error:
            raise UlfineError(f"cannot write to {self._out}: {reason(error)}; choose another --out") from error
        return token

    def _gpus(self, device: str, machines: Sequence[Room]) -> float:
        asked: float | None = self._arguments["gpus_per_worker"]
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
