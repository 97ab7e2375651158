"""An answer that may be large: counted against a budget until its client has fetched it."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response

from ulfine_exports.serve.bounds.byte_budget import ByteBudget
from ulfine_exports.serve.connection import STUCK_SECONDS
from ulfine_exports.serve.refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

MAX_ANSWER = 2**28
"""Largest answer in bytes."""

_AT_ONCE = 2**18
_SLOWEST = 2**18
"""Bytes a second: a client that fetches less is left, for others wait for its room."""


class Holding:
    """Bytes of one answer in a budget.

    Args:
        budget: What all answers share.

    Example:
        >>> async def held(budget):
        ...     holding = Holding(budget)
        ...     await holding.take(100)
        ...     holding.release()
        ...     return budget.held
        >>> asyncio.run(held(ByteBudget(1000)))
        0
    """

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._count = 0

    async def take(self, count: int) -> None:
        """Wait for room for an answer.

        Raises:
            Refusal: It would be over `MAX_ANSWER`; 413.
        """
        if count > MAX_ANSWER:
            raise Refusal(
                413,
                f"the answer would take up to {count / 2**20:.0f} MB, and may take {MAX_ANSWER // 2**20}: ask for "
                "fewer rows, outputs or classes, or for binary tensors",
            )
        await self._budget.wait_for(count)
        self._count += count

    def release(self) -> None:
        """Give everything back; may be called again."""
        count, self._count = self._count, 0
        self._budget.give_back(count)


class PiecesResponse(Response):
    """Sends pieces one after the other, as fast as the client reads, and then releases their bytes.

    Args:
        pieces: The body.
        headers: Beside its length.
        holding: What the body holds.
    """

    def __init__(self, pieces: Sequence[bytes], headers: Mapping[str, str], holding: Holding) -> None:
        super().__init__(headers={**headers, "Content-Length": str(sum(map(len, pieces)))})
        self._pieces = pieces
        self._holding = holding

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Send it."""
        seconds = STUCK_SECONDS + sum(map(len, self._pieces)) / _SLOWEST
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    for piece in self._pieces:
                        view = memoryview(piece)
                        for first in range(0, len(piece), _AT_ONCE):
                            part = bytes(view[first : first + _AT_ONCE])
                            await send({"type": "http.response.body", "body": part, "more_body": True})
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._holding.release()
