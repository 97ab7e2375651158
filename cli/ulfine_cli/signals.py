"""SIGTERM ends a command as Ctrl-C does, and neither is lost."""

import os
import signal
import sys
import threading
import time
from types import FrameType

# Long enough for the main thread to leave the callback that lost the interrupt, too short to be noticed.
_PAUSE = 0.01


def let_signals_interrupt() -> None:
    """Make a KeyboardInterrupt of SIGTERM, and raise one again that was lost.

    Python runs a signal's handler wherever the main thread happens to be. In a destructor or in the callback of a weak
    reference the exception has nobody to go to: Python prints it and goes on. h5py runs such callbacks whenever a file
    is closed, so that a third of all interrupts of a run that writes many shards would be lost.
    """
    owner = os.getpid()
    main_thread = threading.get_ident()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            # A forked worker that its pool ends: it goes without a word.
            os._exit(1)
        raise KeyboardInterrupt

    def raise_again(lost: "sys.UnraisableHookArgs") -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(lost)
            return

        def after_the_callback() -> None:
            time.sleep(_PAUSE)
            if hasattr(signal, "pthread_kill"):
                # To the main thread itself: a signal to another one does not end its system call.
                signal.pthread_kill(main_thread, signal.SIGTERM)
            else:
                signal.raise_signal(signal.SIGTERM)

        threading.Thread(target=after_the_callback, daemon=True).start()

    signal.signal(signal.SIGTERM, interrupt)
    sys.unraisablehook = raise_again
