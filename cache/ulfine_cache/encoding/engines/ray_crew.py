"""The workers of one call on a Ray cluster: who makes which block, and what happens when one dies."""

import time
from collections import Counter, deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

from ulfine_cache.encoding.engines.engine import Done, Job
from ulfine_cache.encoding.engines.ray_cluster import RayCluster, Room, how_many
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress

_TICK = 1.0
"""Seconds between two looks at how far everybody is."""
_LOOK_FOR_MACHINES = 10.0
_PATIENCE = 300.0
"""Seconds without a single worker after which it is given up."""
_SAY_SO = 15.0
_MOST_DEATHS = 5
"""Workers that one block may end before it is taken for the cause."""
_MOST_STARTS = 5
"""How often one worker may die before it is ready."""
_SEEN_LATER = 30.0
"""Seconds that a network drive may take to show here what was written there."""


@dataclass(eq=False)
class _Worker:
    handle: Any
    block: int | None = None
    failed_starts: int = 0
    images: int = 0
    busy: float = 0.0


class Crew(Generic[Done]):
    """The workers. At most one block of each is under way, which bounds what is lost and what is held.

    Args:
        cluster: Where they work.
        wants: What each holds.
        job: What they make.
        progress: Receives how many images are done, and notes.
    """

    def __init__(self, cluster: RayCluster, wants: Room, job: Job[Done], progress: Progress) -> None:
        self._cluster, self._ray, self._wants, self._job = cluster, cluster.ray, wants, job
        self._progress, self._told = progress, set[str]()
        self._workers: list[_Worker] = []
        self._pending: dict[Any, tuple[_Worker, str]] = {}
        self._asked: dict[Any, _Worker] = {}
        self._free: deque[_Worker] = deque()
        self._deaths = Counter[int]()
        self._last_sign = self._looked = self._polled = time.monotonic()
        self._why, self._gone, self._most = "", False, 0

    def start(self, blocks: int) -> None:
        """Start as many workers as there is room for, and wait until the first is ready."""
        self._hire(blocks)
        while not self._free:
            self._wait()

    def make(self, todo: Sequence[int]) -> Generator[Done, None, None]:
        """Let the blocks be made, and yield each when it is done."""
        left, images = deque(todo), 0
        total = sum(self._job.images(number) for number in todo)
        count = 0
        while count < len(todo):
            while left and self._free:
                self._give(self._free.popleft(), left.popleft())
            for worker, answer in self._wait():
                number, worker.block, worker.images = worker.block, None, 0
                assert number is not None
                if answer is None:
                    left.appendleft(number)
                    self._count_death(number)
                    continue
                self._free.append(worker)
                done = self._done(answer, number)
                count += 1
                images += self._job.images(number)
                yield done
            self._tell(images, total)
            self._look_for_machines(len(left))

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers:
            try:
                self._ray.kill(worker.handle, no_restart=True)
            except Exception:  # whatever it is, the cluster ends them with this process
                break
        self._workers.clear()

    def _hire(self, blocks: int) -> None:
        """Start workers for which there is room and something to do."""
        room = sum(how_many(machine, self._wants) for machine in self._cluster.machines())
        at_work = sum(worker.block is not None for worker in self._workers)
        remote = self._ray.remote(
            num_cpus=self._wants.cpus,
            num_gpus=self._wants.gpus,
            # A machine that goes takes its workers with it; Ray starts them again wherever there is room.
            max_restarts=-1,
            # Which block is made again, and where, is decided here: it does not wait for the one that died.
            max_task_retries=0,
            concurrency_groups={"asked": 1},
        )(self._job.worker)
        for _ in range(min(room, blocks + at_work) - len(self._workers)):
            worker = _Worker(remote.remote(*self._job.told, int(self._wants.cpus)))
            self._workers.append(worker)
            self._ask_ready(worker)

    def _ask_ready(self, worker: _Worker) -> None:
        # Waits for a worker that is being started again.
        self._pending[worker.handle.ready.options(max_task_retries=-1).remote()] = worker, "ready"

    def _give(self, worker: _Worker, number: int) -> None:
        worker.block = number
        self._pending[worker.handle.make.remote(number, self._job.listing(number))] = worker, "make"

    def _wait(self) -> list[tuple[_Worker, dict[str, Any] | None]]:
        """Wait a little, and return the workers that have answered about a block; None of those that died over it."""
        answered: list[tuple[_Worker, dict[str, Any] | None]] = []
        if not self._pending:
            raise UlfineError(f"no worker is left on {self._cluster.name}{self._why}: run the same command again")
        self._ray.wait(list(self._pending), timeout=_TICK)
        if time.monotonic() - self._polled >= _TICK:
            self._polled = time.monotonic()
            self._ask_how_far()
        for call in self._ray.wait(list(self._pending), num_returns=len(self._pending), timeout=0)[0]:
            worker, what = self._pending.pop(call)
            answer = self._answer(call)
            if answer is not None and "refused" in answer:
                raise (UsageError if answer["usage"] else UlfineError)(answer["refused"])
            if what == "make":
                answered.append((worker, answer))
                if answer is None:
                    self._tell_death()
                    self._ask_ready(worker)
            elif answer is None:
                self._start_failed(worker)
            else:
                worker.failed_starts = 0
                self._job.heard(answer)
                self._free.append(worker)
        self._lose_patience()
        return answered

    def _answer(self, call: Any) -> dict[str, Any] | None:
        """What a worker answers, None where it died first."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(call)
        except errors.RayTaskError as error:
            line = str(error).strip().splitlines()[-1]
            if "No module named" in str(error):
                raise UlfineError(
                    f"a worker on {self._cluster.name} cannot import what it needs ({line}): install the same version "
                    "of ulfine-fast on all of its machines"
                ) from error
            raise (error.cause if isinstance(error.cause, Exception) else error) from error
        except errors.RayActorError as error:
            self._why = f" ({_first_line(error)})"
            self._gone = isinstance(error, errors.ActorDiedError)
            return None

    def _start_failed(self, worker: _Worker) -> None:
        worker.failed_starts += 1
        if self._gone or worker.failed_starts >= _MOST_STARTS:
            self._workers.remove(worker)
        else:
            self._ask_ready(worker)

    def _count_death(self, number: int) -> None:
        self._deaths[number] += 1
        if self._deaths[number] >= _MOST_DEATHS:
            raise UlfineError(
                f"{self._job.word} {number} has ended {_MOST_DEATHS} workers that made it{self._why}: it may need more "
                "memory than they have; give fewer workers (more --cpus-per-worker), or --engine local"
            )

    def _tell_death(self) -> None:
        self._note(f"a worker has ended before its {self._job.word} was done, which another one makes")

    def _note(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._progress.note(line)

    def _lose_patience(self) -> None:
        now = time.monotonic()
        if self._free or any(worker.block is not None for worker in self._workers):
            self._last_sign = now
        elif now - self._last_sign > _PATIENCE:
            raise UlfineError(
                f"no worker has been ready on {self._cluster.name} for {_PATIENCE:.0f} seconds: see `ray status`, and "
                "run the same command again, it goes on"
            )
        elif now - self._last_sign > _SAY_SO:
            self._note(f"waiting for a worker on {self._cluster.name}")

    def _done(self, answer: Mapping[str, Any], number: int) -> Done:
        """What became of a block, when its file is seen here."""
        for line in answer["notes"]:
            self._note(line)
        done, until = self._job.done(answer), time.monotonic() + _SEEN_LATER
        while not self._job.is_seen(done):
            if time.monotonic() > until:
                raise UlfineError(
                    f"a worker has written {self._job.path(number)}, and it is not seen here: choose an --out on a "
                    "file system that all machines of the cluster share"
                )
            time.sleep(0.1)
        return done

    def _ask_how_far(self) -> None:
        """Hear from all workers that answer how far they are, and ask again."""
        calls = self._ray.wait(list(self._asked), num_returns=len(self._asked), timeout=0)[0] if self._asked else []
        for call in calls:
            worker = self._asked.pop(call)
            try:
                found, worker.busy = self._ray.get(call)
            except self._ray.exceptions.RayError:
                continue
            worker.images = found if worker.block is not None else 0
            # One that loads a large model may need long to be ready, but it is there.
            self._last_sign = time.monotonic()
        waited_for = list(self._asked.values())
        for worker in self._workers:
            if worker not in waited_for:
                self._asked[worker.handle.at.options(concurrency_group="asked").remote()] = worker

    def _tell(self, images: int, total: int) -> None:
        at_work = [worker for worker in self._workers if worker.block is not None]
        self._most = max(self._most, min(total, images + sum(worker.images for worker in at_work)))
        busy = sum(worker.busy for worker in at_work) / max(1, len(self._workers))
        self._progress.update(self._job.stage, self._most, total, encoder_busy=busy)

    def _look_for_machines(self, blocks: int) -> None:
        if blocks and time.monotonic() - self._looked > _LOOK_FOR_MACHINES:
            self._looked = time.monotonic()
            self._hire(blocks)


def _first_line(error: Exception) -> str:
    return " ".join((str(error).strip().splitlines() or [type(error).__name__])[0].split())[:200]
