"""A table for a terminal of any width: no number is cut, no heading is lost."""

import re
from collections.abc import Sequence
from textwrap import wrap
from typing import TextIO

_FIGURE = re.compile(r"[-\d.,±+e% ]*|-?\d[\d.]* to \d[\d.]*|unknown|of each class|all")
_GAP, _EDGES = 2, 2
_LEAST_NAME = 24
"""Characters that names are not narrowed below while there are columns to move into another table."""
_LEAST_TEXT = 12


def print_table(
    stream: TextIO, columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, title: str | None = None
) -> None:
    """Print a table that fits; names are broken over lines, and columns that do not fit stand in a table below.

    Args:
        stream: A terminal.
        columns: Headings.
        rows: Cells, each as many as there are columns.
        width: Columns of the terminal.
        title: Stands above.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=stream, width=width)
    for number, places in enumerate(_parts(columns, rows, width)):
        heading = Text(title) if title and not number else None
        table = Table(title=heading, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for place in places:
            cells = [row[place] for row in rows]
            if place and _are_figures(cells):
                lines = wrap(columns[place], _figure_width(columns[place], cells))
                table.add_column(Text("\n".join(lines)), justify="right", no_wrap=True)
            else:
                right = place and max(map(len, cells), default=0) <= _LEAST_TEXT
                table.add_column(Text(columns[place]), justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(row[place]) for place in places))
        console.print(table)


def _are_figures(cells: Sequence[str]) -> bool:
    return all(_FIGURE.fullmatch(cell) for cell in cells)


def _figure_width(heading: str, cells: Sequence[str]) -> int:
    """As wide as the widest cell, or word of the heading."""
    return max(map(len, [*cells, *heading.split(), "-"]))


def _parts(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Which columns stand in one table, the first in each."""
    names = max(len(cell) for cell in [columns[0], *(row[0] for row in rows)])
    parts: list[list[int]] = [[0]]
    used = first = min(names, _LEAST_NAME)
    for place in range(1, len(columns)):
        cells = [row[place] for row in rows]
        needed = _figure_width(columns[place], cells)
        if not _are_figures(cells):
            needed = min(needed, _LEAST_TEXT)
        if used + _GAP + needed > width - _EDGES and len(parts[-1]) > 1:
            parts.append([0])
            used = first
        parts[-1].append(place)
        used += _GAP + needed
    return parts
