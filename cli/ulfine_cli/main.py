"""The `ulfine` command: options, exit codes and signals; the work is done in the rooms."""

import io
import os
import sys
from typing import Annotated

from ulfine_cli.signals import INTERRUPTED, let_signals_interrupt, received, told_at_once, untold

with told_at_once():
    # They take a fifth of a second.
    import typer

    from ulfine_cli.commands import COMMANDS
    from ulfine_cli.failures import usage_line

    app = typer.Typer(
        name="ulfine",
        help="From photographs with few, long-tailed labels to a classifier that is good on the rare classes too.",
        epilog="\b\nExample:\n  ulfine quickstart",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for _command in COMMANDS:
        _command.add_to(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ulfine_fast.version import __version__

        sys.stdout.write(f"ulfine-fast {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> int:
    """Run the command line with the process's arguments.

    Returns:
        The exit code: 0 done, 1 could not be done, 2 wrong usage.
    """
    try:
        let_signals_interrupt()
        exit_code = _run()
        if exit_code and untold():
            raise KeyboardInterrupt
        return exit_code
    except (KeyboardInterrupt, Exception) as error:
        # The parser makes an error of its own of an interrupt.
        if received() is None and not isinstance(error, KeyboardInterrupt):
            raise
        sys.stderr.write(INTERRUPTED + "\n")
        return 1


def _run() -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names need not be valid in the terminal's encoding, or in any.
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] or ["--help"]
    try:
        exit_code = app(args=arguments, prog_name="ulfine", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered has no reader: without this, Python complains about it on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        # The parser's own errors; their class moved between typer's versions, this method did not.
        if not hasattr(error, "format_message"):
            raise
        context = getattr(error, "ctx", None)
        sys.stderr.write(usage_line(error.format_message(), context.command_path if context else "ulfine") + "\n")  # pyright: ignore[reportAttributeAccessIssue]
        return 2
    return exit_code if isinstance(exit_code, int) else 0


if __name__ == "__main__":
    sys.exit(main())
