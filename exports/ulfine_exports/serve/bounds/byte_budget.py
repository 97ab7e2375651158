"""How many bytes of clients the server holds at a time."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator

from ulfine_exports.serve.refusal import Refusal


class ByteBudget:
    """A number of bytes that many requests share.

    Args:
        total: Bytes that may be held at a time.

    Attributes:
        held: Bytes that are held now.

    Example:
        >>> budget = ByteBudget(1000)
        >>> budget.take(800)
        >>> budget.give_back(800)
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.held = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take(self, count: int) -> None:
        """Hold `count` more bytes.

        Raises:
            Refusal: There is no room; 503.
        """
        if self._waiting or not self._fits(count):
            raise Refusal(503, "the server holds as much data as it may: try again later", unread=True)
        self.held += count

    async def wait_for(self, count: int) -> None:
        """Hold `count` more bytes as soon as there is room, in the order of asking.

        What is larger than everything together gets room when nothing else is held.
        """
        if not self._waiting and self._fits(count):
            self.held += count
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((count, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(count)
            raise

    @contextlib.asynccontextmanager
    async def room(self, count: int) -> AsyncGenerator[None]:
        """`wait_for`, and `give_back` at the end of the context."""
        await self.wait_for(count)
        try:
            yield
        finally:
            self.give_back(count)

    def give_back(self, count: int) -> None:
        """Hold `count` bytes less."""
        self.held -= count
        while self._waiting:
            next_count, turn = self._waiting[0]
            if not turn.done() and not self._fits(next_count):
                return
            self._waiting.popleft()
            if not turn.done():
                self.held += next_count
                turn.set_result(None)

    def _fits(self, count: int) -> bool:
        return self.held == 0 or self.held + count <= self.total
