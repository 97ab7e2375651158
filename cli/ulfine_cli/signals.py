"""Ctrl-C and SIGTERM end a command with one line, and neither is lost."""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

# Long enough for the main thread to leave the callback that lost the interrupt, too short to be noticed.
_PAUSE = 0.01
# Ignored where a shell script started the command in the background; None was not set from Python.
_LEFT_ALONE = (signal.SIG_IGN, None)
INTERRUPTED = "interrupted: run the same command again to go on"
_received: list[int] = []
_told: list[bool] = []


def received() -> int | None:
    """The signal that was to end this command, None where none came.

    Whatever is raised after it, is raised because of it: an interrupt inside of h5py's conversions, for one, comes out
    as a TypeError.
    """
    return _received[-1] if _received else None


def told() -> None:
    """Remember that the line about the interrupt has been written."""
    _told.append(True)


def untold() -> bool:
    """Whether a signal came of which nobody has been told: the parser ends without a word."""
    return bool(_received) and not _told


@contextmanager
def told_at_once() -> Generator[None]:
    """End the process with the line while nothing is being done yet, as when modules are imported."""

    def tell(number: int, frame: FrameType | None) -> None:
        os.write(2, f"{INTERRUPTED}\n".encode())
        os._exit(1)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, tell) for number in numbers if signal.getsignal(number) not in _LEFT_ALONE}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def let_signals_interrupt() -> None:
    """Make a KeyboardInterrupt of SIGINT and SIGTERM, and raise one again that was lost.

    Python runs a signal's handler wherever the main thread happens to be. In a destructor or in the callback of a weak
    reference the exception has nobody to go to: Python prints it and goes on. h5py runs such callbacks whenever a file
    is closed, so that a third of all interrupts of a run that writes many shards would be lost.
    """
    owner = os.getpid()
    main_thread = threading.get_ident()
    _received.clear()
    _told.clear()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            # A forked worker that its pool ends: it goes without a word.
            os._exit(1)
        if _torch_is_being_imported():
            send_again(number)
            return
        _received.append(number)
        raise KeyboardInterrupt

    def send_again(number: int) -> None:
        def after_a_pause() -> None:
            time.sleep(_PAUSE)
            if hasattr(signal, "pthread_kill"):
                # To the main thread itself: a signal to another one does not end its system call.
                signal.pthread_kill(main_thread, number)
            else:
                signal.raise_signal(number)

        threading.Thread(target=after_a_pause, daemon=True).start()

    def raise_again(lost: "sys.UnraisableHookArgs") -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(lost)
            return
        send_again(received() or signal.SIGTERM)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) not in _LEFT_ALONE:
            signal.signal(number, interrupt)
    sys.unraisablehook = raise_again
    atexit.register(_ignore_signals)


def _torch_is_being_imported() -> bool:
    """Whether C++ code of torch may be on the stack that ends the process at an exception of Python."""
    modules = [module for name, module in sys.modules.copy().items() if name.partition(".")[0] == "torch"]
    return any(getattr(getattr(module, "__spec__", None), "_initializing", False) for module in modules)


def _ignore_signals() -> None:
    """Let a command that has come to its end, end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
