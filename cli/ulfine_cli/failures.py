"""What went wrong, in one line that names the thing and the remedy."""

import errno
import os
import re
from importlib.metadata import PackageNotFoundError, distribution

from ulfine_cache.errors import UlfineError
from ulfine_cache.names.written import shown
from ulfine_cli.signals import INTERRUPTED

STARTS_OVER = "interrupted: the same command starts from the beginning"
"""Of commands that keep nothing of what they have done so far."""

_WHOLE = "it predicts and serves exported files; install ulfine-fast, in another environment, for all else"

_OS_REASONS = {
    errno.EACCES: "permission denied: choose a place that you may use, or change its permissions",
    errno.EPERM: "operation not permitted: choose a place that you may use, or change its permissions",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.ENOSPC: "no space left on device: free some space and run the same command again",
    errno.EDQUOT: "disk quota exceeded: free some space and run the same command again",
    errno.EFBIG: "file too large for its file system: choose another place",
    errno.ENOENT: "no such file or directory: check the path",
    errno.ENOTDIR: "not a directory: a part of this path is a file, choose another path",
    errno.EISDIR: "is a directory: a file was expected here",
    errno.EEXIST: "exists already: choose another path",
    errno.EMFILE: "too many open files: raise the limit with `ulimit -n` and run the same command again",
    errno.ENAMETOOLONG: "file name too long: choose a shorter one",
    errno.EIO: "input/output error: the device may be failing, try another one",
    errno.ELOOP: "too many symbolic links: the path leads round in circles",
}


def describe(error: BaseException, interrupted: str = INTERRUPTED) -> tuple[str, int]:
    """Put an exception into the words and the exit code of the command line.

    Args:
        error: What was raised while a command ran.
        interrupted: The line for Ctrl-C.

    Returns:
        The line without its end of line, and the exit code: 1 could not be done, 2 wrong usage.

    Example:
        >>> describe(PermissionError(13, "Permission denied", "/srv/run"))[0]
        'error: /srv/run: permission denied: choose a place that you may use, or change its permissions'
    """
    if isinstance(error, KeyboardInterrupt):
        return interrupted, 1
    if isinstance(error, UlfineError):
        return _line(str(error)), error.exit_code
    if isinstance(error, OSError):
        return _line(_os_error(error)), 1
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("ulfine_"):
        package = (error.name or str(error)).partition(".")[0]
        if _is_runtime():
            return _line(f"this needs {package}, which ulfine-fast-runtime leaves out: {_WHOLE}"), 1
        return _line(f"{package} is not installed, which this needs: pip install ulfine-fast brings it"), 1
    if isinstance(error, RuntimeError) and "operator torchvision::" in str(error):
        # The usual end of torch for CPUs beside a torchvision with CUDA, or the other way round.
        return _line("torch and torchvision are of different builds: install both from the same index"), 1
    if isinstance(error, RecursionError):
        return _line("an input is nested too deeply to be read: give another file"), 1
    if isinstance(error, MemoryError):
        return _line("out of memory: try again with smaller batches or on a machine with more memory"), 1
    return _line(f"internal error ({type(error).__name__}: {error}): run again with --debug to see where"), 1


def failed_line(failure: str) -> str:
    """The line for one thing that could not be done although the rest was."""
    return _line(failure)


def usage_line(message: str, command_path: str) -> str:
    """The line for a command that was called wrongly.

    Args:
        message: What the parser objects to.
        command_path: The command in question, such as ``"ulfine fit"``.
    """
    return _line(f"{message[:1].lower()}{message[1:].rstrip('. ')}: `{command_path} -h` shows the usage")


def _is_runtime() -> bool:
    """Whether the small distribution is installed, which has no torch."""
    try:
        distribution("ulfine-fast-runtime")
    except PackageNotFoundError:
        return False
    return True


def _line(message: str) -> str:
    return "error: " + shown(" ".join(message.split()))


def _os_error(error: OSError) -> str:
    path = error.filename2 or error.filename or _path_inside(str(error))
    reason = _OS_REASONS.get(error.errno or 0)
    if reason is None:
        reason = f"{error.strerror or error or type(error).__name__}: run again with --debug to see where"
    return f"{_as_text(path)}: {reason}" if path else reason


def _as_text(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, bytes) else str(path)


def _path_inside(message: str) -> str | None:
    # h5py tells the file only inside its message: "... unable to open file: name = 'x.h5', errno = 13 ...".
    found = re.search(r"name = '([^']*)'", message)
    return found[1] if found else None
