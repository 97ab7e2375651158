"""What an inspection hands back: one table with the same first columns whatever was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ulfine_cache.atomic import make_directory, replacing
from ulfine_cache.names.csv_cells import csv_lines, to_cell
from ulfine_cache.names.written import readable

FIXED = ("path", "score", "suggestion")


@dataclass(frozen=True)
class Finding:
    """One image.

    Attributes:
        row: Of the cache.
        score: What the order comes from; the question says what it means.
        suggestion: What could be done, in a word or two, such as the name of a class.
        others: Further columns by name; the same for every finding of a question.
        beside: Another row of the cache that belongs to it, such as its duplicate.
        suspected: Whether it is worth a look, and not only the next in order.
    """

    row: int
    score: float
    suggestion: str
    others: dict[str, Any] = field(default_factory=dict)
    beside: int | None = None
    suspected: bool = True


@dataclass(frozen=True)
class Inspected:
    """All findings of a question, the most worth a look first.

    Attributes:
        findings: In order.
        columns: Names of the further columns.
        figures: What the command says of them as a whole.
        lines: The same in sentences for people.
    """

    findings: list[Finding]
    columns: tuple[str, ...]
    figures: dict[str, Any]
    lines: list[str]


def write_findings(path: Path, findings: Sequence[Finding], columns: Sequence[str], paths: Sequence[str]) -> None:
    """Write one line a finding: path, score, suggestion and the further columns. It appears complete or not at all.

    Args:
        path: Ends in ``.csv`` or ``.parquet``.
        findings: In order.
        columns: Names of the further columns.
        paths: Of each finding.

    Raises:
        UlfineError: The target cannot be written.
    """
    make_directory(path.parent)
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    with replacing(path) as partial:
        write(partial, findings, columns, paths)


def _write_csv(target: Path, findings: Sequence[Finding], columns: Sequence[str], paths: Sequence[str]) -> None:
    with csv_lines(target) as write:
        write([*FIXED, *columns])
        for name, item in zip(paths, findings, strict=True):
            # Names and figures alternate: the names are guarded here, and the figures are none's formulas.
            values = [item.suggestion, *(item.others[column] for column in columns)]
            write([name], [_cell(item.score), *map(_cell, values)])


def _cell(value: Any) -> str:
    """Figures with seven digits; nothing where there is none."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.7g}" if isinstance(value, float) else to_cell(str(value))


def _write_parquet(target: Path, findings: Sequence[Finding], columns: Sequence[str], paths: Sequence[str]) -> None:
    import pyarrow
    from pyarrow import parquet

    def column(values: list[Any]) -> Any:
        return pyarrow.array([readable(value) if isinstance(value, str) else value for value in values])

    table = {
        "path": column(list(paths)),
        "score": pyarrow.array([item.score for item in findings], pyarrow.float64()),
        "suggestion": column([item.suggestion for item in findings]),
        **{name: column([item.others[name] for item in findings]) for name in columns},
    }
    parquet.write_table(pyarrow.table(table), target)
