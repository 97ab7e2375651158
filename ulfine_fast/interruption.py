"""Ctrl-C while training: the first one ends it with the state so far, the second ends the program as ever."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from ulfine_fast.processes.group import is_joined

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interruption:
    """Whether someone asked for the end.

    Attributes:
        requested: Set by the first signal. Loops look at it after every step.
    """

    requested: bool = False


@contextmanager
def first_interrupt_noted() -> Generator[Interruption]:
    """Turn the first SIGINT or SIGTERM in the body into a flag, for loops that have a state worth keeping.

    The handlers that were there come back with that first signal, so that a second one does what it always did, and at
    the end of the body. Signals that are ignored stay ignored. Outside of the main thread, where Python hears no
    signals, the flag is never set. Bodies may be nested: the innermost hears the first signal.

    A loop that ends early says so in `FitResult.interrupted_at`. `ulfine_fast.training.train` makes a KeyboardInterrupt
    of it for callers who have no use for half a fit.

    Example:
        >>> with first_interrupt_noted() as interruption:
        ...     for step in range(1, 101):
        ...         if interruption.requested:
        ...             break
        >>> interruption.requested
        False
    """
    interruption = Interruption()
    # Processes that fit together end at once: each would stop at a step of its own, and wait for the others for ever.
    if threading.current_thread() is not threading.main_thread() or is_joined():
        yield interruption
        return
    # None is a handler that was not set from Python: it could not be put back.
    before = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}

    def put_back() -> None:
        for number, handler in before.items():
            # Whoever has put another one in place meanwhile keeps it.
            if signal.getsignal(number) is note:
                signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        interruption.requested = True
        put_back()

    for number in before:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        put_back()
