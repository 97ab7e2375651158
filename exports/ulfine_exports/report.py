"""`ulfine report`: a run or a comparison as one page that needs nothing else."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.command import command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_exports.reporting.runs.map_choice import MapMethod

if TYPE_CHECKING:
    from ulfine_exports.reporting.comparison import Comparison

REPORT = "report.html"
"""The report's name in the directory of a run."""


@command
def report(
    *,
    target: Path,
    out: Path,
    cache: Path | None = None,
    map: MapMethod = "auto",
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Show a run, or a comparison, on one page: figures, tables, and the pictures that are worth a look.

    The page is one file that loads nothing from anywhere, for a screen, a phone or paper. It holds small copies of some
    pictures, and their paths. The same run gives the same bytes. What cannot be known, as where there are no test rows
    or the pictures are gone, is said on the page.

    Args:
        target: Directory of a run, or the file that ``ulfine compare --json`` wrote.
        out: HTML file to be written.
        cache: Where the cache of the run is now; without it where it was.
        map: How the features are laid out in the plane: ``pca``; ``tsne``, which openTSNE draws; ``auto``, the latter
            where that is installed.
        progress: Told about what is missing.

    Returns:
        Figures: ``out``, ``bytes``, ``missing`` (sentences about what the page cannot show) and ``seconds``.

    Raises:
        UsageError: `target` is a comparison and a cache is named.
        UlfineError: `target` is neither a run nor a comparison, a package is missing, or `out` cannot be written.

    Example:
        >>> report(target=Path("runs/first"), out=Path("first.html"), map="pca")["missing"]
        []
    """
    from ulfine_exports.pages.extra import check_packages

    started = time.perf_counter()
    check_packages("a report")
    if target.is_dir():
        text, missing = _of_run(target, cache, map, progress)
    else:
        if cache is not None:
            raise UsageError(f"{target} is no run, so --cache has no meaning")
        text, missing = _of_comparison(target), []
    size = write_page(out, text)
    return {
        "out": str(out),
        "bytes": size,
        "missing": missing,
        "seconds": round(time.perf_counter() - started, 2),
    }


def _of_run(target: Path, cache: Path | None, map: MapMethod, progress: Progress) -> tuple[str, list[str]]:
    from ulfine_exports.reporting.runs.map_choice import map_method
    from ulfine_exports.reporting.runs.run_facts import gather
    from ulfine_exports.reporting.runs.run_page import run_page
    from ulfine_fast.run import load_run

    method = map_method(map)
    run = load_run(target)
    progress.note(f"gathering what {run.path} says of its images")
    page = run_page(gather(run, cache), method)
    return page.text, page.missing


def _of_comparison(target: Path) -> str:
    from ulfine_exports.reporting.comparison_page import comparison_page

    return comparison_page(_read_comparison(target))


def _read_comparison(target: Path) -> Comparison:
    from ulfine_exports.reporting.comparison import read_comparison

    return read_comparison(target)


def write_page(out: Path, text: str) -> int:
    """Write a page, complete or not at all, and return its size in bytes.

    Raises:
        UlfineError: `out` is a directory, or cannot be written.
    """
    from ulfine_cache.atomic import make_directory, replacing

    if out.is_dir():
        raise UlfineError(f"{out} is a directory: name a file, such as {out / REPORT}")
    content = text.encode()
    make_directory(out.parent)
    with replacing(out) as partial:
        partial.write_bytes(content)
    return len(content)
