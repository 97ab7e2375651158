"""The figures of each class as a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ulfine_cache.names.csv_cells import csv_lines

_FIGURES = ("recall", "low", "high", "precision")


def write_class_table(path: Path, metrics: dict[str, Any]) -> None:
    """Write one line for each class that was judged on test rows, then one for each on left-out rows.

    Columns: ``class``, ``confused_with``, ``judged_on`` (``test`` or ``cross-validated``), ``labelled``, ``rows`` (that
    it was judged on), ``recall`` with ``low`` and ``high`` of its 95 % interval, ``precision``; what no row says is
    empty.

    Args:
        path: Target.
        metrics: Of a run, with ``test_rows``, ``per_class`` and ``cross_validated``.
    """
    tested = [entry | {"rows": entry["test_rows"]} for entry in metrics["per_class"]] if metrics["test_rows"] else []
    left_out = (metrics.get("cross_validated") or {}).get("per_class", [])
    with csv_lines(path) as write:
        write(["class", "confused_with", "judged_on", "labelled", "rows", *_FIGURES])
        for judged_on, entries in (("test", tested), ("cross-validated", left_out)):
            for entry in entries:
                names = [entry["name"], entry["confused_with"] or "", judged_on]
                figures = ["" if entry[name] is None else f"{entry[name]:.6g}" for name in _FIGURES]
                write(names, [entry["labelled"], entry["rows"], *figures])
