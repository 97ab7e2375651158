"""`ulfine report`: a run or a comparison as one page that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ulfine_cache.command import Place, command
from ulfine_cache.errors import UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_exports.reporting.runs.map_choice import MapMethod


@command
def report(
    *,
    target: Path,
    out: Path | None = None,
    cache: Place | None = None,
    map: MapMethod = "auto",
    log: Literal["mlflow"] | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Show a run or a comparison on one page, or log it.

    Figures, tables, and the pictures that are worth a look, in one file that loads nothing from anywhere, for a screen,
    a phone or paper. It holds small copies of some pictures, and their paths. Same run, same bytes. What cannot be
    known, as where there are no test rows or the pictures are gone, is said on the page.

    Args:
        target: Directory of a run; or the file that ``ulfine compare --json`` wrote, or its directory ``--out``.
        out: HTML file to be written; of a comparison also an SVG, PDF or PNG file for the critical-difference picture:
            the mean ranks of the methods, and which of them are not told apart. With `log` it may be left out.
        cache: Where the cache of the run is now; without it where it was.
        map: How the features are laid out in the plane: ``pca``; ``tsne``, which openTSNE draws; ``auto``, the latter
            where that is installed.
        log: Log the run, as ``fit --log`` does, to where MLflow's environment variables say, and the page with it.
            Where that fails, the command line ends with the exit code 1.
        progress: Told about what the page cannot show.

    Returns:
        Figures: ``out``, ``bytes``, ``missing`` (sentences about what the page cannot show) and ``seconds``, of the
        page, where one is written; and ``logged``, if the run is, as `ulfine_fast.records.mlflow_log.log_run`.

    Raises:
        UsageError: `target` is a comparison, and a cache is named or it is to be logged; or there is nothing to do.
        UlfineError: `target` is neither a run nor a comparison, a package is missing, or `out` cannot be written.

    Example:
        >>> report(target=Path("runs/first"), out=Path("first.html"), map="pca")["missing"]
        []
    """
    from ulfine_exports.pages.picture_files import SUFFIXES
    from ulfine_exports.reporting.written import write_comparison_picture, write_comparison_report, write_run_report
    from ulfine_fast.compare import COMPARISON
    from ulfine_fast.records.mlflow_log import check_mlflow

    if log is not None:
        check_mlflow()
    elif out is None:
        raise UsageError("missing option '--out': name the HTML file, or log the run with --log mlflow")

    if (target / COMPARISON).is_file():
        target = target / COMPARISON

    # A path that is not there is taken for a run: that is what it would mostly have been.
    if target.is_file():
        if cache is not None:
            raise UsageError(f"{target} is no run, so --cache has no meaning")
        if log is not None or out is None:
            raise UsageError(f"{target} is no run, so --log has no meaning")
        if out.suffix in SUFFIXES:
            written = write_comparison_picture(target, out)
        else:
            written = write_comparison_report(target, None, out)
    elif out is not None:
        written = write_run_report(target, out, cache=cache, map=map)
    else:
        return {"logged": _logged(target, None, progress)}
    logged = {} if log is None else {"logged": _logged(target, out, progress)}
    for sentence in written.missing:
        progress.note(sentence)
    return {"out": str(out), "bytes": written.bytes, "missing": written.missing, "seconds": written.seconds, **logged}


def _logged(target: Path, out: Path | None, progress: Progress) -> dict[str, Any]:
    """Log a run, and the page that was written of it where that lies elsewhere."""
    from ulfine_fast.records.mlflow_log import log_file, log_written_run
    from ulfine_fast.run import load_run

    run = load_run(target)
    progress.note("logging to MLflow")
    logged = log_written_run(run)
    if out is not None and out.absolute().parent != target.absolute():
        log_file(logged, target, out)
    return logged
