"""How a server stops: not ready first, then no new connections, then the end."""

import signal
import time
from types import FrameType

from uvicorn import Config, Server

from ulfine_exports.serve.service import Service


class StoppingServer(Server):
    """uvicorn's server, which says at SIGTERM that it is not ready, and goes on for a while.

    Whoever sends requests here needs that while to hear of it: a load balancer asks every few seconds. What comes then
    is still answered.

    Args:
        config: Of uvicorn.
        service: What is told.
        drain_seconds: How long it goes on; a second signal ends that.
    """

    def __init__(self, config: Config, service: Service, drain_seconds: float) -> None:
        super().__init__(config)
        self._service = service
        self._drain_seconds = drain_seconds
        self._until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        self._service.stopping = True
        if sig == signal.SIGTERM and self._drain_seconds and self._until is None and not self.should_exit:
            self._until = time.monotonic() + self._drain_seconds
            return
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time, asked ten times a second."""
        if self._until is not None and time.monotonic() >= self._until and not self.should_exit:
            super().handle_exit(signal.SIGTERM, None)
        return await super().on_tick(counter)
