"""One connection of the server, with the bounds that uvicorn leaves to a proxy in front of it."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0
"""How long a client may take for the headers of a request, from its first byte or from connecting."""

HEADER_BYTES = 2**16
"""Largest headers, request line included."""

STUCK_SECONDS = 30.0
"""How long a client may leave an answer unread."""

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class GuardedConnection(HttpToolsProtocol):
    """Ends connections whose client sends headers too slowly or without end, or does not read its answers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._late: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._in_headers = True
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Give the client a while for its first request."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEADER_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clocks."""
        for clock in (self._late, self._stuck):
            if clock is not None:
                clock.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and end what has sent too many bytes without coming to the end of its headers."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        if not self._in_headers:
            if self._late is None and self.timeout_keep_alive_task is None and self._idle():
                # Empty lines between requests stop uvicorn's clock and begin no request.
                self._late = self.loop.call_later(HEADER_SECONDS, self.transport.close)
            return
        self._header_bytes += len(data)
        if self._header_bytes > HEADER_BYTES:
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Start the clock: headers begin."""
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, 0
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def on_headers_complete(self) -> None:
        """Stop the clock: headers are complete."""
        self._in_headers = False
        if self._late is not None:
            self._late.cancel()
            self._late = None
        super().on_headers_complete()

    def _idle(self) -> bool:
        # Before the first request there is none, which uvicorn's types do not say.
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def pause_writing(self) -> None:
        """Start the clock: the client is not reading."""
        super().pause_writing()
        self._stuck = self.loop.call_later(STUCK_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the clock: the client reads again."""
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
        super().resume_writing()
