"""Reports as files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.errors import UlfineError
from ulfine_exports.pages.extra import check_packages
from ulfine_exports.reporting.runs.map_choice import MapMethod, map_method

if TYPE_CHECKING:
    from collections.abc import Callable

REPORT = "report.html"
"""The report's name in the directory of a run."""


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        out: The file.
        bytes: Its size.
        missing: Sentences about what it cannot show.
        seconds: What it took.
    """

    out: Path
    bytes: int
    missing: list[str]
    seconds: float


def write_run_report(
    run: Path, out: Path, *, cache: Path | None = None, map: MapMethod = "auto", most_listed: int | None = None
) -> Written:
    """Write the report of a run.

    Args:
        run: Directory of the run.
        out: HTML file.
        cache: Where its cache is now; None takes the place that the run remembers.
        map: How the features are laid out.
        most_listed: Rows of a cache above which no pictures are shown, since the source has to be listed for them; None
            for no such bound.

    Raises:
        UlfineError: A package is missing, there is no run, or the file cannot be written.
    """
    from ulfine_exports.reporting.runs.run_facts import gather
    from ulfine_exports.reporting.runs.run_page import run_page
    from ulfine_fast.run import load_run

    def page() -> tuple[str, list[str]]:
        method = map_method(map)
        found = run_page(gather(load_run(run), cache), method, most_listed=most_listed)
        return found.text, found.missing

    return _written(out, page)


def write_comparison_report(source: Path, figures: dict[str, Any] | None, out: Path) -> Written:
    """Write the report of a comparison.

    Args:
        source: The JSON file that holds it.
        figures: What is in that file, where that is known; None reads it.
        out: HTML file.

    Raises:
        UlfineError: A package is missing, the file holds no comparison, or the report cannot be written.
    """
    from ulfine_exports.reporting.comparisons.comparison import comparison_of, read_comparison
    from ulfine_exports.reporting.comparisons.comparison_page import comparison_page

    def page() -> tuple[str, list[str]]:
        found = read_comparison(source) if figures is None else comparison_of(figures, source)
        return comparison_page(found), []

    return _written(out, page)


def write_comparison_picture(source: Path, out: Path) -> Written:
    """Write the critical-difference picture of a comparison, or of several together.

    Args:
        source: The JSON file that holds it.
        out: SVG, PDF or PNG file.

    Raises:
        UlfineError: A package is missing, the file holds no comparison or one of fewer than two methods or draws, or
            the picture cannot be written.
    """
    from ulfine_exports.reporting.comparisons.comparison import read_comparison
    from ulfine_exports.reporting.comparisons.rank_picture import write_rank_picture
    from ulfine_exports.reporting.comparisons.ranks import mean_ranks

    started = time.perf_counter()
    check_packages("a picture")
    ranks = mean_ranks(read_comparison(source).values())
    if ranks is None:
        raise UlfineError(f"{source} has fewer than two methods or two draws, which have no ranks: compare more")
    write_rank_picture(out, ranks)
    return Written(out, out.stat().st_size, [], round(time.perf_counter() - started, 2))


def write_bench(folder: Path, figures: dict[str, Any]) -> list[Path]:
    """Write the report and the pictures of a comparison into the directory of its fits.

    Args:
        folder: The directory.
        figures: Of the comparison.

    Returns:
        The files: ``report.html``, ``ranks.svg`` and ``ranks.pdf``, and of curves over the parameters of the protocols
        ``curve-PARAMETER.svg`` and ``.pdf``.
    """
    from ulfine_exports.reporting.comparisons.comparison import comparison_of
    from ulfine_exports.reporting.comparisons.curves import find_curves, write_curve
    from ulfine_exports.reporting.comparisons.rank_picture import write_rank_picture
    from ulfine_exports.reporting.comparisons.ranks import mean_ranks

    comparisons = comparison_of(figures, folder)
    files = [write_comparison_report(folder, figures, folder / REPORT).out]
    ranks = mean_ranks(comparisons.values())
    for suffix in (".svg", ".pdf"):
        if ranks is not None:
            files.append(folder / f"ranks{suffix}")
            write_rank_picture(files[-1], ranks)
        for curve in find_curves(comparisons):
            files.append(folder / f"curve-{curve.name}{suffix}")
            write_curve(files[-1], curve)
    return files


def _written(out: Path, page: Callable[[], tuple[str, list[str]]]) -> Written:
    """Write a page, complete or not at all."""
    from ulfine_cache.atomic import make_directory, replacing

    started = time.perf_counter()
    check_packages("a report")
    if out.is_dir():
        raise UlfineError(f"{out} is a directory: name a file, such as {out / REPORT}")
    text, missing = page()
    content = text.encode()
    make_directory(out.parent)
    with replacing(out) as partial:
        partial.write_bytes(content)
    return Written(out, len(content), missing, round(time.perf_counter() - started, 2))
