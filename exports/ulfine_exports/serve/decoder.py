"""Turns image files into rows of the model's input, on a bounded number of threads."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numpy.typing import NDArray

from ulfine_exports.serve.byte_budget import ByteBudget
from ulfine_exports.serve.refusal import Refusal


class Decoder:
    """A pool of threads that decode, with a bound on what waits and on the bytes of decoded rows.

    Args:
        decode: Maps the bytes of an image file to one row.
        threads: How many pictures are decoded at a time.
        max_queue: How many may wait or be decoded.
        budget: Bytes of decoded rows that may be held until they have been classified.

    Attributes:
        busy: Pictures that wait or are being decoded.

    Example:
        >>> async def decode(data):
        ...     decoder = Decoder(
        ...         lambda data: np.frombuffer(data, np.uint8), threads=2, max_queue=8, budget=ByteBudget(2**20)
        ...     )
        ...     async with decoder.decoded(data) as row:
        ...         return row.tolist()
        >>> asyncio.run(decode(b"abc"))
        [97, 98, 99]
    """

    def __init__(
        self, decode: Callable[[bytes], NDArray[Any]], *, threads: int, max_queue: int, budget: ByteBudget
    ) -> None:
        self._decode = decode
        self._max_queue = max_queue
        self._budget = budget
        self._slots = asyncio.Semaphore(threads)
        self._threads = ThreadPoolExecutor(threads, "decode")
        self.busy = 0

    @contextlib.asynccontextmanager
    async def decoded(self, data: bytes) -> AsyncGenerator[NDArray[Any]]:
        """The row of a picture, which counts against the budget until the context is left.

        Raises:
            Refusal: Too many pictures are waiting; 503.
            UndecodableImage: The bytes give no picture.
        """
        if self.busy >= self._max_queue:
            raise Refusal(503, f"{self.busy} pictures are waiting to be decoded: try again later")
        self.busy += 1
        try:
            # A slot is given back only when the decoded row has found room: no more threads' worth of rows than that
            # exist beside the budget.
            async with self._slots:
                row = await asyncio.get_running_loop().run_in_executor(self._threads, self._decode, data)
                await self._budget.wait_for(row.nbytes)
        finally:
            self.busy -= 1
        try:
            yield row
        finally:
            self._budget.give_back(row.nbytes)

    async def stop(self) -> None:
        """End the threads."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
