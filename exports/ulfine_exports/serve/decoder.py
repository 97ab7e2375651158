"""Turns image files into rows of the model's input, within bounds on threads, time in the queue and memory."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from typing import Any

from numpy.typing import NDArray

from ulfine_exports.serve.bounds.byte_budget import ByteBudget
from ulfine_exports.serve.bounds.daemon_threads import DaemonThreads
from ulfine_exports.serve.refusal import Refusal

_SMALL = 32 * 2**20
"""Bytes that each thread may take without asking: what most pictures need."""

_RUN_FACTOR = 4
"""How many times its own size a row takes until it has been classified: itself, its place in the batch, and what the
preparation inside a graph makes of a large picture."""


class Decoder:
    """A pool of threads that decode, with bounds on what waits and on the bytes that decoding and its results take.

    Args:
        decode: Maps the bytes of an image file to one row.
        cost: Maps the bytes of an image file to the bytes that `decode` will take of memory, by the file's header.
        threads: How many pictures are decoded at a time.
        max_queue: How many may wait or be decoded.
        budget: Bytes that decoding may take, and what has been decoded until it has been classified.

    Attributes:
        busy: Pictures that wait or are being decoded.

    Example:
        >>> async def decode(data):
        ...     decoder = Decoder(
        ...         lambda data: np.frombuffer(data, np.uint8),
        ...         len,
        ...         threads=2,
        ...         max_queue=8,
        ...         budget=ByteBudget(2**20),
        ...     )
        ...     async with decoder.decoded(data) as row:
        ...         return row.tolist()
        >>> asyncio.run(decode(b"abc"))
        [97, 98, 99]
    """

    def __init__(
        self,
        decode: Callable[[bytes], NDArray[Any]],
        cost: Callable[[bytes], int],
        *,
        threads: int,
        max_queue: int,
        budget: ByteBudget,
    ) -> None:
        self._decode = decode
        self._cost = cost
        self._max_queue = max_queue
        self._budget = budget
        self._slots = asyncio.Semaphore(threads)
        self._threads = DaemonThreads(threads, "decode")
        self.busy = 0

    @contextlib.asynccontextmanager
    async def decoded(self, data: bytes) -> AsyncGenerator[NDArray[Any]]:
        """The row of a picture, which counts against the budget until the context is left.

        Raises:
            Refusal: Too many pictures are waiting; 503.
            UndecodableImage: The bytes give no picture, or decoding them would take more memory than there may be.
        """
        if self.busy >= self._max_queue:
            raise Refusal(503, f"{self.busy} pictures are waiting to be decoded: try again later")
        self.busy += 1
        try:
            # A slot is given back only when the decoded row has found room: no more threads' worth of rows than that
            # exist beside the budget.
            async with self._slots:
                row = await self._row(data)
                held = _RUN_FACTOR * row.nbytes
                await self._budget.wait_for(held)
        finally:
            self.busy -= 1
        try:
            yield row
        finally:
            self._budget.give_back(held)

    async def end(self, seconds: float) -> None:
        """End the threads; a picture that is being decoded is waited for no longer than this."""
        await asyncio.to_thread(self._threads.end, seconds)

    async def _row(self, data: bytes) -> NDArray[Any]:
        row = await asyncio.wrap_future(self._threads.submit(self._row_if_small, data))
        if not isinstance(row, int):
            return row
        await self._budget.wait_for(row)
        work = self._threads.submit(self._decode, data)
        self._give_back_when_done(row, work)
        return await asyncio.wrap_future(work)

    def _row_if_small(self, data: bytes) -> NDArray[Any] | int:
        """The row, or what it will take to decode it."""
        from ulfine_cache.pictures.pixels import UndecodableImage

        cost = self._cost(data)
        if cost <= _SMALL:
            return self._decode(data)
        if cost > self._budget.total:
            raise UndecodableImage(
                f"too large: decoding it takes {cost / 2**20:.0f} MB of memory, and may take "
                f"{self._budget.total / 2**20:.0f}"
            )
        return cost

    def _give_back_when_done(self, count: int, work: "Future[NDArray[Any]]") -> None:
        """Not when nobody waits for it any more: a thread cannot be interrupted, and keeps what it has taken."""
        loop = asyncio.get_running_loop()

        def done(_: "Future[NDArray[Any]]") -> None:
            # The loop is closed when the server has ended before the picture.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._budget.give_back, count)

        work.add_done_callback(done)
