"""What a command says on standard output: rich tables on a terminal, aligned plain text elsewhere."""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, TextIO

from ulfine_cache.names.written import shown
from ulfine_cli.terminal.terminal_table import print_table


class Output:
    """Prints tables, pairs and lines.

    Args:
        stream: Where to; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream

    def line(self, text: str = "") -> None:
        """Print one line."""
        self._stream.write(shown(text) + "\n")

    def text(self, words: str, *, indent: int = 0) -> None:
        """Print a sentence: broken between words on a terminal, one line elsewhere."""
        margin = " " * indent
        if not self._stream.isatty():
            self.line(margin + words)
            return
        for part in _wrapped(words, first=margin, later=margin):
            self._stream.write(part + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
        """Print a table; the first column is aligned left, and so is text; the others right.

        A terminal too narrow for all columns gets them in several tables, and long names on several lines. Elsewhere
        every value stands complete on its line.
        """
        cells = [[shown(cell) for cell in row] for row in (columns, *rows)]
        if self._stream.isatty():
            print_table(self._stream, cells[0], cells[1:], _width(), title and shown(title))
            return
        if title:
            self.line(title)
        widths = [max(len(row[place]) for row in cells) for place in range(len(columns))]
        for row in cells:
            first, *others = (
                text.ljust(width) if place == 0 else text.rjust(width)
                for place, (text, width) in enumerate(zip(row, widths, strict=True))
            )
            self.line("  ".join([first, *others]).rstrip())

    def pairs(self, values: Mapping[str, Any]) -> None:
        """Print names with their values, one a line: names in words, accuracies in percent, nested values flat."""
        flat = dict(_flat(values))
        width = max((len(name) for name in flat), default=0)
        for name, value in flat.items():
            line = f"{name.ljust(width)}  {value}".rstrip()
            if self._stream.isatty() and _width() > 2 * width:
                self._stream.write("\n".join(_wrapped(line, later=" " * (width + 2))) + "\n")
            else:
                self.line(line)

    @staticmethod
    def show_pairs(figures: Mapping[str, Any], output: "Output") -> None:
        """The `show` of commands whose figures need no table."""
        output.pairs(figures)


def _width() -> int:
    return shutil.get_terminal_size().columns


def _wrapped(line: str, *, first: str = "", later: str = "") -> list[str]:
    """A line broken between words; whole where a path or a digest, which may be copied, would not fit."""
    text = shown(line)
    if any(len(later) + len(word) > _width() for word in text.split()):
        return [first + text]
    return wrap(text, _width(), initial_indent=first, subsequent_indent=later, break_on_hyphens=False) or [""]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        words = f"{prefix}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{words}: ")
        else:
            yield words, f"{percent(value)} %" if name.endswith("accuracy") and value is not None else text(value)


def percent(fraction: float | None) -> str:
    """A fraction of 1 as percent with one decimal; a dash where it is not defined.

    Example:
        >>> percent(0.9412)
        '94.1'
    """
    return "-" if fraction is None or fraction != fraction else f"{100 * fraction:.1f}"


def text(value: Any) -> str:
    """One value for a reader: numbers short, lists on one line, nothing as a dash.

    Example:
        >>> text([0.25, 12_000, None])
        '0.25, 12000, -'
    """
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        shown = [text(item) for item in value[:_LONGEST_LIST]]
        rest = len(value) - len(shown)
        return ", ".join(shown) + (f", ... and {rest} more" if rest else "")
    return " ".join(str(value).split())


_LONGEST_LIST = 12
