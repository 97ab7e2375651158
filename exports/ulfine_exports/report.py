"""`ulfine report`: a run or a comparison as one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ulfine_cache.command import Place, command
from ulfine_cache.errors import UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_exports.reporting.runs.map_choice import MapMethod


@command
def report(
    *,
    target: Path,
    out: Path,
    cache: Place | None = None,
    map: MapMethod = "auto",
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Show a run or a comparison on one page.

    Figures, tables, and the pictures that are worth a look, in one file that loads nothing from anywhere, for a screen,
    a phone or paper. It holds small copies of some pictures, and their paths. Same run, same bytes. What cannot be
    known, as where there are no test rows or the pictures are gone, is said on the page.

    Args:
        target: Directory of a run; or the file that ``ulfine compare --json`` wrote, or its directory ``--out``.
        out: HTML file to be written; of a comparison also an SVG, PDF or PNG file for the critical-difference picture:
            the mean ranks of the methods, and which of them are not told apart.
        cache: Where the cache of the run is now; without it where it was.
        map: How the features are laid out in the plane: ``pca``; ``tsne``, which openTSNE draws; ``auto``, the latter
            where that is installed.
        progress: Told about what the page cannot show.

    Returns:
        Figures: ``out``, ``bytes``, ``missing`` (sentences about what the page cannot show) and ``seconds``.

    Raises:
        UsageError: `target` is a comparison and a cache is named.
        UlfineError: `target` is neither a run nor a comparison, a package is missing, or `out` cannot be written.

    Example:
        >>> report(target=Path("runs/first"), out=Path("first.html"), map="pca")["missing"]
        []
    """
    from ulfine_exports.pages.picture_files import SUFFIXES
    from ulfine_exports.reporting.written import write_comparison_picture, write_comparison_report, write_run_report
    from ulfine_fast.compare import COMPARISON

    if (target / COMPARISON).is_file():
        target = target / COMPARISON

    # A path that is not there is taken for a run: that is what it would mostly have been.
    if target.is_file():
        if cache is not None:
            raise UsageError(f"{target} is no run, so --cache has no meaning")
        if out.suffix in SUFFIXES:
            written = write_comparison_picture(target, out)
        else:
            written = write_comparison_report(target, None, out)
    else:
        written = write_run_report(target, out, cache=cache, map=map)
    for sentence in written.missing:
        progress.note(sentence)
    return {"out": str(out), "bytes": written.bytes, "missing": written.missing, "seconds": written.seconds}
