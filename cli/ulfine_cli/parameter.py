"""One parameter of a command on the command line: all of it from the signature and the docstring of the function."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ulfine_cli.hint import Hint

_LONGEST = 40
"""Letters of a choice that still stand behind the option's name; a longer one is told in the help's text."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a command.

    Attributes:
        name: Its name in Python.
        hint: Its type.
        default: Its default; `inspect.Parameter.empty` where there is none.
        meaning: What the docstring says of it, with its marks of code.
        positional: Whether it stands without its name on the command line.
    """

    name: str
    hint: Hint
    default: Any
    meaning: str
    positional: bool

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty

    @property
    def spelled(self) -> str:
        """The name on the command line."""
        # A word that Python keeps for itself, such as from, has a line behind it there.
        return self.name.upper() if self.positional else f"--{self.name.rstrip('_').replace('_', '-')}"

    @property
    def shown_default(self) -> str:
        """The default in a word; empty where it says nothing."""
        silent = self.required or self.default is None or self.default is False or self.default == ()
        return "" if silent else str(self.default)

    @property
    def metavar(self) -> str:
        """What stands for the value; empty for a switch."""
        if self.hint.flag:
            return ""
        choices = "|".join(self.hint.choices)
        return choices if len(choices) <= _LONGEST else "WORD"

    @property
    def limits(self) -> str:
        """Bounds, or the words that the metavar has no room for; empty where there is nothing to say."""
        return ", ".join(self.hint.choices if self.metavar == "WORD" else self.hint.bounds)

    def declared(self, help: str, *, hidden: bool = False) -> inspect.Parameter:
        """The parameter as Typer wants it.

        Typer turns texts into numbers and paths. Words and bounds are checked by the command itself, so that everybody
        reads the same line.

        Args:
            help: What the help says.
            hidden: Whether the help leaves it out.
        """
        info: dict[str, Any] = {"help": help, "hidden": hidden, "show_default": bool(self.shown_default)}
        if words := [] if self.hint.flag else [word for word in self.hint.choices if word != word.upper()]:
            info["autocompletion"] = lambda incomplete: [word for word in words if word.startswith(incomplete)]
        if self.positional:
            declared = typer.Argument(metavar=self.spelled, parser=self._parser(), **info)
        else:
            declared = typer.Option(self.spelled, metavar=self.metavar or None, parser=self._parser(), **info)
        kind: Any = str if self.hint.words else self.hint.kinds[0]
        if self.hint.several:
            kind = list[kind]
        elif self.hint.optional:
            kind = kind | None
        default = [] if self.default == () else self.default
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, declared]
        )

    def _parser(self) -> Callable[[str], Any] | None:
        """Reads what is a word or a number, a number or a text, or a path; None for all else."""
        words, kinds = self.hint.words, self.hint.kinds
        if kinds == (Path,):
            return path
        if kinds == (int, str):
            return lambda text: int(text) if str(text).isascii() and str(text).isdigit() else text
        if not (words and kinds):
            return None

        def word_or_number(text: str) -> Any:
            try:
                return text if text in words else kinds[0](text)
            except ValueError as error:
                raise typer.BadParameter(f"use {' or '.join(words)} or a number") from error

        return word_or_number


def path(text: str) -> str:
    """Leave a path as it is typed: the command makes it one, and a URL would lose a slash. The help shows the name."""
    return text
