"""A small HTML table of figures, as notebooks show it. No style of its own, so that it looks like the notebook's."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ulfine_cache.names.written import shown


def html_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; names may hold anything.

    Args:
        title: Stands above it.
        columns: Headings.
        rows: Cells.

    Example:
        >>> html_table("a < b", ["x"], [["1"]])
        '<table><caption>a &lt; b</caption><thead><tr><th>x</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{_safe(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{_safe(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{_safe(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def percent_cell(mean: float | None, spread: float | None = None) -> str:
    """A fraction in percent, with its spread where there is one.

    Example:
        >>> percent_cell(0.941, 0.003), percent_cell(None)
        ('94.1 ± 0.3', '–')
    """
    if mean is None:
        return "–"
    return f"{100 * mean:.1f}" if spread is None else f"{100 * mean:.1f} ± {100 * spread:.1f}"


def _safe(text: str) -> str:
    return escape(shown(text))
