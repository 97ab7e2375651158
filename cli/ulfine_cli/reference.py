"""The page ``docs/commands.md``: every command with its options, figures and exit codes, from the functions themselves.

``python -m ulfine_cli.reference docs/commands.md`` writes it anew; a test compares the two.
"""

import re
import sys
from pathlib import Path

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cli.command import LOCAL_CACHE, NO_REPORT, Command
from ulfine_cli.commands import COMMANDS
from ulfine_cli.parameter import Parameter

_HEAD = """\
# Commands

Made by `python -m ulfine_cli.reference docs/commands.md` from the functions that do the work; `ulfine COMMAND -h` shows
the same. From Python the parameters have the same names, with `_` for `-`, and every value must have its type: nothing
is converted silently.

Every command takes `--json FILE` (write the figures to this file), `--quiet` (print errors only), `--debug` (show the
traceback of an error, and library warnings) and `-h`. Results go to standard output; progress and errors, each one line
that names the thing and the remedy, to standard error.

`ulfine --install-completion` teaches your shell (bash, zsh, fish, PowerShell) to complete commands, options and their
words with the tab key; `ulfine --show-completion` prints what it would install.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it could not be done, or not all of it |
| 2 | wrong usage: an option or a value that there is not, or options that contradict one another |
"""


def reference() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *map(_section, COMMANDS)])


def _section(command: Command) -> str:
    module, _, function = command.calls.partition(":")
    raised = command.docstring.entries("Raises")
    ends = [
        f"- Exit code {error.exit_code}: {raised[error.__name__]}"
        for error in (UlfineError, UsageError)
        if error.__name__ in raised
    ]
    paragraphs = [
        f"## ulfine {command.name}",
        command.docstring.summary,
        command.docstring.description,
        f"    {command.example}",
        "\n".join([*map(_option, command.parameters.values()), *_own(command)]),
        f"In Python: ``{module}.{function}``.",
        # What Python calls None is null in JSON.
        re.sub(r"\bNone\b", "null", command.docstring.sections["Returns"]),
        "\n".join(ends),
    ]
    return command.words("\n\n".join(filter(None, paragraphs)), lambda text: f"`{text}`") + "\n"


def _option(item: Parameter) -> str:
    named = item.spelled if item.positional else f"{item.spelled} {item.metavar}".rstrip()
    default = f"default ``{item.shown_default}``" if item.shown_default else ""
    notes = [note for note in ("required" if item.required else default, item.limits) if note]
    said = f" ({'; '.join(notes)})" if notes else ""
    return f"- ``{named}``{said}: {item.meaning}"


def _own(command: Command) -> list[str]:
    local_cache = [f"- ``--local-cache SIZE``: {LOCAL_CACHE}"] if command.takes_urls else []
    return [*local_cache, *([f"- ``--no-report``: {NO_REPORT}"] if command.reports else [])]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
