"""One command of the command line: a signature on this side, a function of the rooms on the other."""

import functools
import importlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.failures import describe
from ulfine_cli.json_file import prepare_json, write_json
from ulfine_cli.output import Output
from ulfine_cli.watch import watch

Figures = dict[str, Any]

_OWN_OPTIONS = {
    "json": Annotated[Path | None, typer.Option(help="Write the figures to this file as JSON.", metavar="FILE")],
    "quiet": Annotated[bool, typer.Option("--quiet", help="Print errors only.")],
    "debug": Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and library warnings.")],
}
_OWN_DEFAULTS: dict[str, Any] = {"json": None, "quiet": False, "debug": False}


@dataclass(frozen=True)
class Command:
    """What the `command` decorator makes of a signature.

    Attributes:
        declaration: The function that was decorated: its parameters and its docstring, never called.
        calls: The function that does the work, as ``"package.module:function"``; imported when the command runs.
        example: One call, shown at the end of the command's help.
        show: Prints the figures.
        failures: What could not be done although the rest was: one line each, on standard error, exit code 1.
    """

    declaration: Callable[..., None]
    calls: str
    example: str
    show: Callable[[Figures, Output], None]
    failures: Callable[[Figures], list[str]]

    @property
    def name(self) -> str:
        """The word on the command line."""
        return self.declaration.__name__.replace("_", "-")

    def add_to(self, app: typer.Typer) -> None:
        """Register the command, with the three options that every command has, in `app`."""

        @functools.wraps(self.declaration)
        def call(*, json: Path | None, quiet: bool, debug: bool, **arguments: Any) -> None:
            self._run(arguments, json=json, quiet=quiet, debug=debug)

        parameters = dict(inspect.signature(self.declaration).parameters)
        for name, annotation in _OWN_OPTIONS.items():
            parameters[name] = inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=_OWN_DEFAULTS[name], annotation=annotation
            )
        call.__signature__ = inspect.Signature(list(parameters.values()))  # pyright: ignore[reportAttributeAccessIssue]
        call.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
        app.command(self.name, epilog=f"\b\nExample:\n  {self.example}")(call)

    def _run(self, arguments: dict[str, Any], *, json: Path | None, quiet: bool, debug: bool) -> None:
        try:
            if not debug:
                _hush_libraries()
            if json is not None:
                prepare_json(json)
            with watch(quiet=quiet) as progress:
                result = self.function()(**arguments, progress=progress)
            figures: Figures = result if isinstance(result, dict) else result.figures()
            if json is not None:
                write_json(json, figures)
            if not quiet:
                self.show(figures, Output())
                sys.stdout.flush()
        except BrokenPipeError:
            raise  # the reader of standard output has gone: main() ends without a word
        except (Exception, KeyboardInterrupt) as error:
            if debug:
                import traceback

                traceback.print_exception(error)
            line, exit_code = describe(error)
            sys.stderr.write(line + "\n")
            raise typer.Exit(exit_code) from error
        if failures := self.failures(figures):
            sys.stderr.writelines(f"error: {failure}\n" for failure in failures)
            raise typer.Exit(1)

    def function(self) -> Callable[..., Any]:
        """Import and return the function that does the work."""
        module, _, name = self.calls.partition(":")
        return getattr(importlib.import_module(module), name)


def _hush_libraries() -> None:
    # Libraries warn about themselves; nobody who runs a command can act on that.
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())


def command(
    calls: str,
    *,
    example: str,
    show: Callable[[Figures, Output], None],
    failures: Callable[[Figures], list[str]] = lambda _: [],
) -> Callable[[Callable[..., None]], Command]:
    """Turn a declaration, a function with parameters, a docstring and no body, into a `Command`.

    The parameters have the names, types and defaults of the function that does the work (a test compares them); the
    options ``--json``, ``--quiet`` and ``--debug`` come on top. What the function returns, a dict or an object with
    ``figures()``, is written to ``--json`` and shown.

    Args:
        calls: The function that does the work, as ``"package.module:function"``.
        example: One call, shown at the end of the help.
        show: Prints the figures.
        failures: Says what could not be done although the rest was.

    Example:
        >>> @command("ulfine_cache.verify:verify", example="ulfine verify cache", show=lambda figures, output: None)
        ... def verify(*, cache: Annotated[Path, typer.Argument()]) -> None:
        ...     "Read every checksum of a cache."
        >>> verify.name
        'verify'
    """

    def declare(declaration: Callable[..., None]) -> Command:
        return Command(declaration, calls, example, show, failures)

    return declare
