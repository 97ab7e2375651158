"""What the server says no to, and how it says it."""

import asyncio
import contextlib
from typing import TYPE_CHECKING

from ulfine_exports.serve.json_response import JSONResponse

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_LINGER_SECONDS = 2.0
_LINGER_BYTES = 256 * 2**20
_LONGEST = 400
"""Characters of a message: what a client sent is quoted in it."""


class Refusal(Exception):
    """A request that is not served.

    Args:
        status: HTTP status, 4xx or 503.
        message: One line that says what is wrong and what would be right.
        unread: The body of the request was not read to its end, so that the connection cannot be used again.

    Example:
        >>> raise Refusal(413, "the body is over 64 MB: send fewer rows", unread=True)
        Traceback (most recent call last):
        ulfine_exports.serve.refusal.Refusal: the body is over 64 MB: send fewer rows
    """

    def __init__(self, status: int, message: str, *, unread: bool = False) -> None:
        message = message if len(message) <= _LONGEST else message[:_LONGEST] + " ..."
        super().__init__(message)
        self.status = status
        self.message = message
        self.unread = unread

    def response(self) -> JSONResponse:
        """The answer: ``{"error": message}``, with ``Retry-After`` where trying again makes sense."""
        headers = {"Retry-After": "1"} if self.status == 503 else {}
        if self.unread:
            return _LingeringResponse({"error": self.message}, self.status, headers | {"Connection": "close"})
        return JSONResponse({"error": self.message}, self.status, headers)


class _LingeringResponse(JSONResponse):
    """An answer to a request that is still being sent.

    A server that answers and closes while bytes are on their way makes the client's system throw the answer away.
    So the answer goes out first, then what comes is read and dropped for a bounded while, then the connection closes.
    """

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": bytes(self.body), "more_body": True})
        dropped = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while dropped < _LINGER_BYTES:
                    message = await receive()
                    dropped += len(message.get("body", b""))
                    if message["type"] != "http.request" or not message.get("more_body", False):
                        break
        await send({"type": "http.response.body", "body": b"", "more_body": False})
