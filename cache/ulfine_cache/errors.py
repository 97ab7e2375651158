"""The two errors a user can cause; both carry one line that names the thing and the remedy."""


class UlfineError(Exception):
    """What was asked could not be done.

    The message is a single line: it names the file or value and says what to do. The command line prints it and
    ends with `exit_code`.
    """

    exit_code = 1


class UsageError(UlfineError):
    """The request itself contradicts the documented usage, whatever the data."""

    exit_code = 2
