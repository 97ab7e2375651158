"""`ulfine inspect`: duplicates, wrong labels, foreign images, and what to label next."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le

from ulfine_cache.command import Place, command
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Progress, Silent
from ulfine_fast.inspecting.what import What

LISTED = 200
"""Findings among the figures; all of them are in the table."""


@command
def inspect_cache(
    *,
    cache: Place,
    what: What,
    run: Path | None = None,
    split: str | None = None,
    out: Path | None = None,
    gallery: Path | None = None,
    count: Annotated[int, Ge(1), Le(100_000)] = 100,
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Look for what a person should look at.

    Duplicates: the same file twice, or nearly the same picture, above all on both sides of the test. Label errors:
    labels that fits without the image do not believe. Outliers: unlabelled images that belong to no class. Next to
    label: the unlabelled images that the rare classes gain most from. The labels of test images and the truth of
    unlabelled ones are not looked at. Same arguments, same machine: the same table.

    Args:
        cache: Directory of the cache.
        what: Which question to ask of it.
        run: A run of this cache: its split is taken, and its model says which class an image to label next may be.
        split: Named split; without it that of the run, or the cache's own labels and sets.
        out: Write the table to this ``.csv`` file, or ``.parquet`` with the extra parquet.
        gallery: Write a page with pictures to this ``.html`` file.
        count: Images to label next.
        seed: Seed of folds and fits.
        progress: Told about the work.

    Returns:
        Figures: cache, split, what, run, figures of the question, lines (the same in sentences), columns, findings (the
        first 200: path, score, suggestion and the columns), found (how many there are), out, gallery, seconds.

    Raises:
        UsageError: `out` ends in neither ``.csv`` nor ``.parquet``, or `gallery` not in ``.html``.
        UlfineError: The cache, split or run cannot be used, there are no rows for the question, a package is missing,
            or a file cannot be written.

    Example:
        >>> found = inspect_cache(cache=Path("photos-cache"), what="duplicates", out=Path("twice.csv"))
        >>> found["figures"]["leaks"]
        0
    """
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.evaluate import open_cache_of
    from ulfine_fast.inspecting.inspected import write_findings
    from ulfine_fast.inspecting.questions import Asked, ask
    from ulfine_fast.records.predictions import check_predictions_path
    from ulfine_fast.run import load_run

    started = time.perf_counter()
    if out is not None:
        check_predictions_path(out)
    if gallery is not None:
        from ulfine_exports.pages.extra import check_packages

        if gallery.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"cannot tell the format of {gallery}: the name must end in .html")
        check_packages("the gallery", figures=False)
    model = None
    if run is None:
        opened = FeatureCache.open(cache)
    else:
        loaded = load_run(run)
        opened = open_cache_of(loaded, cache)
        model = loaded.model
        own = (loaded.provenance.get("split") or {}).get("requested")
        split = own if split is None and own in opened.split_names() else split
    rows = opened.read_split(split)
    if what != "duplicates" and not len(rows.labelled):
        raise UlfineError(f"no labelled rows in {cache}: label some images of each class")
    found = ask(what, Asked(opened, rows, model, count, seed, progress))
    paths = opened.paths_of(_rows(found.findings))
    if out is not None:
        write_findings(out, found.findings, found.columns, paths)
    if gallery is not None:
        from ulfine_exports.reporting.gallery import write_gallery

        write_gallery(gallery, what, found, opened)
    listed = [
        {"path": path, "score": item.score, "suggestion": item.suggestion, **item.others}
        for path, item in zip(paths[:LISTED], found.findings[:LISTED], strict=True)
    ]
    return {
        "cache": str(cache),
        "split": split,
        "what": what,
        "run": None if run is None else str(run),
        "figures": found.figures,
        "lines": found.lines,
        "columns": list(found.columns),
        "found": len(found.findings),
        "findings": listed,
        "out": None if out is None else str(out),
        "gallery": None if gallery is None else str(gallery),
        "seconds": round(time.perf_counter() - started, 4),
    }


def _rows(findings: Any) -> Any:
    import numpy as np

    return np.array([item.row for item in findings], np.int64)
