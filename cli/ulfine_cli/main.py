"""The door of the `ulfine` command: signals, from the first moment on; all else is behind it."""

import sys

from ulfine_cli.signals import INTERRUPTED, let_signals_interrupt, received, told_at_once, untold


def main() -> int:
    """Run the command line with the process's arguments.

    Returns:
        The exit code: 0 done, 1 could not be done, 2 wrong usage.
    """
    try:
        with told_at_once():
            # Takes a fifth of a second.
            from ulfine_cli.app import run
        let_signals_interrupt()
        exit_code = run()
        if exit_code and untold():
            raise KeyboardInterrupt
        return exit_code
    except (KeyboardInterrupt, Exception) as error:
        # The parser makes an error of its own of an interrupt.
        if received() is None and not isinstance(error, KeyboardInterrupt):
            raise
        sys.stderr.write(INTERRUPTED + "\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
