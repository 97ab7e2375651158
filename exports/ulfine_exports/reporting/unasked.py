"""Reports that commands write when their work is done and shown: whatever happens here, that work is kept."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ulfine_cache.progress import Progress
from ulfine_exports.pages.extra import REMEDY, missing_packages
from ulfine_exports.reporting.written import (
    REPORT,
    Written,
    write_bench,
    write_comparison_report,
    write_run_report,
)
from ulfine_fast.records.mlflow_log import log_file

MOST_LISTED = 50_000
"""Rows of a cache up to which its source is listed for the sake of pictures: listing a million files takes minutes."""

_MADE_BY = b'name="generator" content="ulfine-fast"'
_BEGINNING = 4096
"""Bytes of a page in which `_MADE_BY` stands."""

_Report = Callable[[dict[str, Any], Path | None], Written | None]


def _harmless(make: _Report) -> Callable[[dict[str, Any], Path | None, Progress], str]:
    """Make a function say in one line what it wrote, or in a note why it did not."""

    @functools.wraps(make)
    def call(figures: dict[str, Any], json: Path | None, progress: Progress) -> str:
        if names := missing_packages():
            progress.note(f"no report, which needs {' and '.join(names)}: {REMEDY}")
            return ""
        try:
            written = make(figures, json)
        # A report is an extra: no fault in it may end a command that has done its work.
        except Exception as error:
            words = " ".join(f"{type(error).__name__}: {error}".split()).removeprefix("UlfineError: ")
            progress.note(f"no report: {words}")
            return ""
        return "" if written is None else f"report written to {written.out} in {written.seconds:.1f} s"

    return call


@_harmless
def after_fit(figures: dict[str, Any], json: Path | None) -> Written | None:
    """Write the report of a fitted run into its directory, and log it with that; nothing where Ctrl-C ended the fit."""
    if "interrupted_at" in figures:
        return None
    run = Path(figures["run"])
    written = write_run_report(run, run / REPORT, map="pca", most_listed=MOST_LISTED)
    if "logged" in figures:
        log_file(figures["logged"], run, written.out)
    return written


@_harmless
def after_quickstart(figures: dict[str, Any], json: Path | None) -> Written:
    """Write the report of the run that was exported beside everything else."""
    return write_run_report(Path(figures["files"]["runs"][-1]), Path(figures["out"]) / REPORT, map="pca")


@_harmless
def after_compare(figures: dict[str, Any], json: Path | None) -> Written | None:
    """Write the report of a comparison into the directory of its fits and beside its JSON file, under its name."""
    written = None
    if "out" in figures:
        started = time.perf_counter()
        report, *pictures = write_bench(Path(figures["out"]), figures)
        size = sum(path.stat().st_size for path in (report, *pictures))
        written = Written(report, size, [], time.perf_counter() - started)
    beside = _beside(figures, json)
    return written or beside


def _beside(figures: dict[str, Any], json: Path | None) -> Written | None:
    if json is None or not json.is_file():
        return None
    out = json.with_suffix(".html")
    if out.is_file():
        with out.open("rb") as file:
            if _MADE_BY not in file.read(_BEGINNING):
                from ulfine_cache.errors import UlfineError

                raise UlfineError(f"{out} is none of ulfine's pages and stays: `ulfine report {json} --out FILE`")
    return write_comparison_report(json, figures, out)
