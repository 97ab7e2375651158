"""What is a file, and what only stands in the place of one: opening a named pipe would wait for ever."""

import errno
import os
import stat
from pathlib import Path

_KINDS = (
    (stat.S_ISDIR, os.strerror(errno.EISDIR).lower()),
    (stat.S_ISFIFO, "is a named pipe"),
    (stat.S_ISSOCK, "is a socket"),
    (stat.S_ISBLK, "is a device"),
    (stat.S_ISCHR, "is a device"),
)


def check_regular(path: Path) -> None:
    """Refuse a pipe, socket, device or directory before it is opened.

    Raises:
        OSError: There is no such file, or it is no file.
    """
    refuse_other_kinds(path.stat())


def refuse_other_kinds(status: os.stat_result) -> None:
    """Refuse what is no file, by its `os.stat`.

    Raises:
        OSError: It is none; the message says what it is.
    """
    if not stat.S_ISREG(status.st_mode):
        raise OSError(next((words for is_kind, words in _KINDS if is_kind(status.st_mode)), "is no file"))
