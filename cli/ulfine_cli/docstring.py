"""A Google-style docstring, taken apart: the words about a command that its help and its reference page show."""

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

_TITLE = re.compile(r"^(\w+):\n", re.MULTILINE)
_ENTRY = re.compile(r"^(\w+): ", re.MULTILINE)
_CODE = re.compile(r"``(.+?)``|`(.+?)`", re.DOTALL)


@dataclass(frozen=True)
class Docstring:
    """The parts of a docstring, with its marks of code still in them.

    Attributes:
        summary: The first line.
        description: The paragraphs behind it, up to the first section.
        sections: The text of every section by its title, such as ``Returns``.
    """

    summary: str
    description: str
    sections: dict[str, str]

    @classmethod
    def of(cls, function: Callable[..., object]) -> "Docstring":
        """Take the docstring of a function apart; all is empty where it has none."""
        head, *parts = _TITLE.split(inspect.getdoc(function) or "")
        summary, _, description = head.partition("\n")
        sections = {title: textwrap.dedent(text).strip() for title, text in zip(parts[::2], parts[1::2], strict=True)}
        return cls(summary, description.strip(), sections)

    def entries(self, title: str) -> dict[str, str]:
        """The entries of a section of the form ``name: text``, each text on one line.

        Example:
            >>> def draw(*, seed: int) -> None:
            ...     '''Draw rows.
            ...
            ...     Args:
            ...         seed: Decides
            ...             which.
            ...     '''
            >>> Docstring.of(draw).entries("Args")
            {'seed': 'Decides which.'}
        """
        _, *parts = _ENTRY.split(self.sections.get(title, ""))
        return {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def reworded(text: str, literal: Callable[[str], str], name: Callable[[str], str]) -> str:
    """Replace the marks of code in a text.

    Args:
        text: With literals in double backticks and names of parameters and Python objects in single ones.
        literal: What becomes of a literal.
        name: What becomes of a name.

    Example:
        >>> reworded("Where `out` is ``none``.", str, lambda name: f"--{name}")
        'Where --out is none.'
    """
    return _CODE.sub(lambda found: literal(found[1]) if found[1] else name(found[2]), text)
