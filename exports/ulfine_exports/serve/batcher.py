"""Dynamic micro-batching: requests that wait at the same time run together."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.wording.counts import subject
from ulfine_exports.serve.refusal import Refusal

Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(eq=False)
class _Job:
    """Some rows of one request, at most a batch."""

    rows: NDArray[Any]
    result: "asyncio.Future[Outputs]"
    since: float


class Batcher:
    """Runs rows in batches, one batch at a time, in a thread of its own.

    While a batch runs, what comes in waits and forms the next one. When nothing runs, rows are held back only while
    others are known to be on their way, and no longer than `max_delay`.

    Args:
        run: Maps (n, ...) rows to (n, ...) outputs by name.
        max_batch: Most rows in a batch.
        max_delay: Longest time in seconds that rows are held back for company.
        max_queue: Most rows that wait.
        max_bytes: Most bytes of rows that are put together; more run one by one.
        expecting: How many requests are on their way, such as pictures that are being decoded.
        observe: Told about each batch: its rows, how many seconds each of its jobs waited, the oldest first, how many
            seconds it ran.

    Example:
        >>> async def doubled(rows):
        ...     batcher = Batcher(lambda batch: {"twice": 2 * batch}, max_batch=32, max_delay=0.005, max_queue=1024)
        ...     batcher.start()
        ...     answers = await asyncio.gather(*(batcher.submit(row[None]) for row in rows))
        ...     await batcher.stop()
        ...     return [answer["twice"].tolist() for answer in answers]
        >>> asyncio.run(doubled(np.array([[1.0], [2.0]])))
        [[[2.0]], [[4.0]]]
    """

    def __init__(
        self,
        run: Callable[[NDArray[Any]], Outputs],
        *,
        max_batch: int,
        max_delay: float,
        max_queue: int,
        max_bytes: int = 2**62,
        expecting: Callable[[], int] = lambda: 0,
        observe: Callable[[int, Sequence[float], float], None] = lambda rows, waits, ran: None,
    ) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_delay = max_delay
        self._max_queue = max_queue
        self._max_bytes = max_bytes
        self._expecting = expecting
        self._observe = observe
        self._jobs: deque[_Job] = deque()
        self._came = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "onnxruntime")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Rows that wait for a batch."""
        return sum(len(job.rows) for job in self._jobs if not job.result.done())

    @property
    def working(self) -> bool:
        """Whether what is submitted will be run."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to run batches, in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """Let the batch that runs finish, then end the thread. What still waits is cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for job in self._jobs:
            job.result.cancel()
        await asyncio.to_thread(self._thread.shutdown)

    async def submit(self, rows: NDArray[Any]) -> Outputs:
        """Outputs of some rows. To cancel the call drops what has not begun to run.

        Args:
            rows: (n, ...) with at least one row; over `max_batch` they run in several batches.

        Raises:
            Refusal: Too many rows are waiting; 503.
        """
        if self.waiting + len(rows) > self._max_queue:
            raise Refusal(
                503,
                f"{subject(self.waiting, 'row', 'is/are')} waiting and at most {self._max_queue} may: try again later",
            )
        loop = asyncio.get_running_loop()
        pieces = [rows[first : first + self._max_batch] for first in range(0, len(rows), self._max_batch)]
        jobs = [_Job(piece, loop.create_future(), time.monotonic()) for piece in pieces]
        self._jobs.extend(jobs)
        self._came.set()
        try:
            results = await asyncio.gather(*(job.result for job in jobs))
        finally:
            for job in jobs:
                job.result.cancel()
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([result[name] for result in results]) for name in results[0]}

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._came.wait()
            await self._hold_back()
            jobs = self._take()
            if not self._jobs:
                self._came.clear()
            if not jobs:
                continue
            began = time.monotonic()
            waits = [began - job.since for job in jobs]
            try:
                outputs = await loop.run_in_executor(self._thread, self._run_jobs, [job.rows for job in jobs])
            except asyncio.CancelledError:
                for job in jobs:
                    job.result.cancel()
                raise
            except Exception as error:  # onnxruntime's errors share no class of their own
                outputs = [error] * len(jobs)
            for job, output in zip(jobs, outputs, strict=True):
                if job.result.done():
                    continue
                if isinstance(output, Exception):
                    job.result.set_exception(output)
                else:
                    job.result.set_result(output)
            self._observe(sum(len(job.rows) for job in jobs), waits, time.monotonic() - began)

    async def _hold_back(self) -> None:
        """Wait for company as long as some is on its way and the oldest row may wait."""
        while self._jobs and self._expecting() and self.waiting < self._max_batch:
            left = self._jobs[0].since + self._max_delay - time.monotonic()
            if left <= 0:
                return
            # A short sleep instead of an event: what is expected may also turn out never to come.
            await asyncio.sleep(min(left, 0.0005))

    def _take(self) -> list[_Job]:
        """The oldest rows and those after them that have the same shape, up to a batch."""
        taken: list[_Job] = []
        left: deque[_Job] = deque()
        room, bytes_left = self._max_batch, self._max_bytes
        for job in self._jobs:
            if job.result.done():
                continue
            alike = not taken or (job.rows.shape[1:] == taken[0].rows.shape[1:] and job.rows.nbytes <= bytes_left)
            if alike and len(job.rows) <= room:
                taken.append(job)
                room -= len(job.rows)
                bytes_left -= job.rows.nbytes
            else:
                left.append(job)
        self._jobs = left
        return taken

    def _run_jobs(self, parts: list[NDArray[Any]]) -> list[Outputs]:
        """Run rows as one batch and hand each job its own."""
        outputs = self._run(np.ascontiguousarray(parts[0]) if len(parts) == 1 else np.concatenate(parts))
        if len(parts) == 1:
            return [outputs]
        ends = np.cumsum([len(part) for part in parts])
        return [
            {name: rows[end - len(part) : end] for name, rows in outputs.items()}
            for part, end in zip(parts, ends.tolist(), strict=True)
        ]
