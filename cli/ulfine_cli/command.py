"""One command of the command line, made of the function of the rooms that does the work."""

import importlib
import inspect
import os
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cache.command import parameters_of
from ulfine_cache.errors import UsageError
from ulfine_cache.names.written import shown
from ulfine_cache.remote.told import InWords
from ulfine_cache.store.objects.disk_space import bounded
from ulfine_cli.docstring import Docstring, reworded
from ulfine_cli.failures import INTERRUPTED, describe, failed_line
from ulfine_cli.hint import Hint
from ulfine_cli.json_file import prepare_json, write_json
from ulfine_cli.output import Output
from ulfine_cli.parameter import Parameter
from ulfine_cli.signals import received, told
from ulfine_cli.watch import watch

Figures = dict[str, Any]

_BEFORE_OTHERS = 3.0
"""Seconds that a process waits before it speaks of what the first one may say: torchrun ends it meanwhile."""

_FOR_THE_FIRST = 60.0
"""Seconds that a process waits for the first one to say what both have found: one may start long after the other."""

NO_REPORT = "Write no report when the work is done."
"""What the help says of ``--no-report``."""

LOCAL_CACHE = (
    "How much of the disk local copies from a URL such as s3://bucket/cache may take, such as 20GB; without it what "
    "ULFINE_LOCAL_CACHE says, or 20GB."
)
"""What the help says of ``--local-cache``."""

_OWN_OPTIONS = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, default, annotation in (
        (
            "json",
            None,
            Annotated[Path | None, typer.Option(help="Write the figures to this file as JSON.", metavar="FILE")],
        ),
        ("quiet", False, Annotated[bool, typer.Option("--quiet", help="Print errors only.")]),
        (
            "debug",
            False,
            Annotated[bool, typer.Option("--debug", help="Show the traceback of an error, and library warnings.")],
        ),
    )
]

_NO_REPORT = inspect.Parameter(
    "no_report",
    inspect.Parameter.KEYWORD_ONLY,
    default=False,
    annotation=Annotated[bool, typer.Option("--no-report", help=NO_REPORT)],
)

_LOCAL_CACHE = inspect.Parameter(
    "local_cache",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[str | None, typer.Option("--local-cache", help=LOCAL_CACHE, metavar="SIZE")],
)


@dataclass(frozen=True)
class Command:
    """A command.

    Its options are the parameters of the function, its help is the function's docstring, and what the function returns,
    a dict or an object with ``figures()``, is written to ``--json`` and shown.

    Attributes:
        calls: The function that does the work, as ``"package.module:function"``. Importing it must cost nothing.
        example: One call, shown at the end of the help; its second word is the command's name.
        positional: Parameters that stand without their names on the command line.
        show: Prints the figures.
        failures: What could not be done although the rest was: one line each, on standard error, exit code 1.
        renamed: Earlier names of options, which are still taken: name to name of the parameter.
        interrupted: The line for Ctrl-C: what is left, and what the same command does then.
        kept_in: The parameter with which the same command goes on where it was, where that takes one.
        shared: Whether several processes of torchrun can do the work together.
        keeps: Whether it does so with this value of the parameter.
        reports: The function that writes a report when the figures have been shown, as `calls`; "" for none. It takes
            the figures, the ``--json`` file and the progress, returns a line to be printed, or "", and raises nothing.

    Example:
        >>> Command("ulfine_cache.verify:verify", "ulfine verify cache --repair", ("cache",)).name
        'verify'
    """

    calls: str
    example: str
    positional: tuple[str, ...] = ()
    show: Callable[[Figures, Output], None] = Output.show_pairs
    failures: Callable[[Figures], list[str]] = lambda _: []
    renamed: Mapping[str, str] = field(default_factory=dict)
    interrupted: str = INTERRUPTED
    kept_in: str = ""
    shared: bool = False
    keeps: Callable[[Any], bool] = bool
    reports: str = ""

    @property
    def name(self) -> str:
        """The word on the command line."""
        return self.example.split()[1]

    def function(self) -> Callable[..., Any]:
        """Import and return the function that does the work."""
        return _imported(self.calls)

    @cached_property
    def docstring(self) -> Docstring:
        """The words of the function about itself."""
        return Docstring.of(self.function())

    @cached_property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters of the function, by name, with what the docstring says of each."""
        meanings = self.docstring.entries("Args")
        return {
            name: Parameter(
                name,
                Hint.of(item.annotation),
                item.default,
                meanings.get(name, ""),
                name in self.positional,
            )
            for name, item in parameters_of(self.function()).items()
        }

    @property
    def takes_urls(self) -> bool:
        """Whether a parameter may be a URL."""
        return any(item.hint.url for item in self.parameters.values())

    def words(self, text: str, literal: Callable[[str], str] = str) -> str:
        """A text of the docstring for people at a terminal: parameters as they are typed there, no marks of code.

        Args:
            text: The text.
            literal: What becomes of code.
        """

        def name(word: str) -> str:
            return literal(self.parameters[word].spelled if word in self.parameters else word)

        return reworded(text, literal, name)

    def add_to(self, app: typer.Typer) -> None:
        """Register the command, with the three options that every command has, in `app`."""

        def call(
            *,
            json: Path | None,
            quiet: bool,
            debug: bool,
            no_report: bool = not self.reports,
            local_cache: str | None = None,
            **arguments: Any,
        ) -> None:
            for earlier, name in self.renamed.items():
                arguments[name] = arguments.pop(earlier) or arguments[name]
            self._run(arguments, json=json, quiet=quiet, debug=debug, report=not no_report, local_cache=local_cache)

        declared = [item.declared(self.help_of(item)) for item in self.parameters.values()]
        for earlier, name in self.renamed.items():
            declared.append(replace(self.parameters[name], name=earlier).declared("", hidden=True))
        declared += [*([_LOCAL_CACHE] if self.takes_urls else []), *([_NO_REPORT] if self.reports else [])]
        declared += _OWN_OPTIONS
        call.__signature__ = inspect.Signature(declared)
        call.__annotations__ = {item.name: item.annotation for item in declared}
        text = self.words(f"{self.docstring.summary}\n\n{self.docstring.description}")
        app.command(self.name, help=text, epilog=f"\b\nExample:\n  {self.example}")(call)

    def help_of(self, parameter: Parameter) -> str:
        """What the help says of a parameter: its meaning and its limits."""
        return self.words(parameter.meaning) + (f"  [{parameter.limits}]" if parameter.limits else "")

    def _run(
        self,
        arguments: dict[str, Any],
        *,
        json: Path | None,
        quiet: bool,
        debug: bool,
        report: bool = False,
        local_cache: str | None = None,
    ) -> None:
        rank = 0
        try:
            if not debug:
                _hush_libraries()
            rank = self._rank()
            if rank:
                # Only the first process prints and writes.
                json, quiet, report = None, True, False
            if json is not None:
                prepare_json(json)
            _keep_home_clean()
            bounded(local_cache)
            with watch(quiet=quiet) as progress, self._together():
                result = self.function()(**arguments, progress=InWords(progress))
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

                lines = "".join(traceback.format_exception(error)).splitlines()
                # Indented, because a message with a line break could look like a line of ours.
                sys.stderr.writelines(f"  {shown(line)}\n" for line in lines)
            interrupted = INTERRUPTED if self.kept_in and self.keeps(arguments.get(self.kept_in)) else self.interrupted
            # An interrupt comes out of some libraries as an error of theirs.
            line, exit_code = describe(error if received() is None else KeyboardInterrupt(), interrupted)
            sys.stderr.write(_line_of_process(rank, line, error) if _of_several() else f"{line}\n")
            told()
            raise typer.Exit(exit_code) from error
        if report:
            self._report(figures, json, quiet=quiet)
        if failures := self.failures(figures):
            sys.stderr.writelines(f"{failed_line(failure)}\n" for failure in failures)
            # A command that an interrupt did not end says so among them.
            told()
            raise typer.Exit(1)

    def _rank(self) -> int:
        """This process's number among those of torchrun, 0 for one alone."""
        if not _of_several():
            return 0
        from ulfine_fast.processes.group import place_from_torchrun

        place = place_from_torchrun()
        return place[0] if place else 0

    @contextmanager
    def _together(self) -> Generator[None]:
        """Join the processes of torchrun, where it started several."""
        if not _of_several():
            yield
            return
        from ulfine_fast.processes.group import joined, place_from_torchrun

        if place_from_torchrun() is None:
            yield
            return
        if not self.shared:
            raise UsageError(
                f"torchrun starts several processes, and `ulfine {self.name}` is the work of one: start it without "
                "torchrun"
            )
        with joined():
            yield

    def _report(self, figures: Figures, json: Path | None, *, quiet: bool) -> None:
        try:
            with watch(quiet=quiet) as progress:
                line = _imported(self.reports)(figures, json, progress)
        except KeyboardInterrupt as error:
            sys.stderr.write("interrupted: all is done but the report\n")
            told()
            raise typer.Exit(1) from error
        if line and not quiet:
            Output().line(line)
            sys.stdout.flush()


def _imported(name: str) -> Callable[..., Any]:
    """Import a function that is named as ``"package.module:function"``."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _of_several() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _line_of_process(rank: int, line: str, error: BaseException) -> str:
    """The line of one of several processes.

    What is wrong with the call itself, every process finds. torchrun ends all of them when the first one to end has
    ended, so that one that is silent waits until the first process has spoken. The same holds for a process that only
    noticed that another one is gone.
    """
    from ulfine_fast.processes.group import OtherProcessEnded

    if rank and isinstance(error, KeyboardInterrupt):
        return ""
    if rank or isinstance(error, OtherProcessEnded):
        try:
            time.sleep(_FOR_THE_FIRST if isinstance(error, UsageError) else _BEFORE_OTHERS)
        except KeyboardInterrupt:
            return ""
    return f"process {rank}: {line}\n" if rank else f"{line}\n"


def _keep_home_clean() -> None:
    # matplotlib would make folders in the user's home. Where it cannot use the place that it is given, it takes one for
    # temporary files and removes it in the end.
    os.environ.setdefault("MPLCONFIGDIR", os.devnull)


def _hush_libraries() -> None:
    # Libraries warn about themselves; nobody who runs a command can act on that.
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
