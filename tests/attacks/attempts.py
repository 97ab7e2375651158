"""What is tried, and what counts as lost."""

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cli.conftest import Ended
from ulfine_cache.errors import UlfineError
from ulfine_cli.main import main

Attempt = tuple[str, str]
"""What was tried, and how it was lost: "" where it survived."""
Kind = Callable[[Path, Path, float], Iterator[Attempt]]
"""Tries one kind of attack: of what `tests.attacks.victims` made, in an empty folder, and how much of it (1: all)."""


def asked(question: Callable[[], Any], expected: Any = None) -> str:
    """How a call of a library is lost: neither refused in one line nor the same answer (None: any)."""
    try:
        answer = question()
    except UlfineError as error:
        return "" if str(error) and "\n" not in str(error) else f"not one line: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "" if expected is None or answer == expected else "another answer"


def lost(ended: Ended, expected: Callable[[], bool] = lambda: True) -> str:
    """How a command is lost: neither refused in one line nor done, with what is `expected` of it."""
    errors = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    if "Traceback" in ended.err or "internal error" in ended.err or "Exception ignored" in ended.err:
        return ended.err
    if ended.exit_code == 0:
        return "" if expected() else f"exit code 0 with another answer: {ended.out} {ended.err}"
    if ended.exit_code not in (1, 2) or len(errors) != 1 or ended.err.splitlines()[-1] != errors[0]:
        return f"exit code {ended.exit_code}, not one line: {ended.err}"
    return ""


def refused(ended: Ended) -> str:
    """How a command is lost that has to be refused."""
    return lost(ended, lambda: False)


def typed(*arguments: object) -> Ended:
    """Run the command line in this process, which has paid for its imports already."""
    kept = [os.dup(number) for number in (1, 2)]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        for number, file in ((1, out), (2, err)):
            os.dup2(file.fileno(), number)
        streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        sys.argv = ["ulfine", *map(str, arguments)]
        try:
            exit_code = main()
        except BaseException:
            exit_code = 70
            traceback.print_exc()
        finally:
            sys.stdout.close()
            sys.stderr.close()
            sys.stdout, sys.stderr = streams
            for number, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, number)
                os.close(copy)
            for number, handler in handlers.items():
                signal.signal(number, handler)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Ended(exit_code, *texts)


def flips(path: Path, count: int) -> Iterator[int]:
    """Flip one bit of a file after the other, evenly over all of it, and put each back; gives the places."""
    whole = path.read_bytes()
    for number in range(min(count, len(whole))):
        place = number * len(whole) // min(count, len(whole))
        data = bytearray(whole)
        data[place] ^= 1 << number % 8
        path.write_bytes(data)
        yield place
    path.write_bytes(whole)
