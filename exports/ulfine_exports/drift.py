"""`ulfine drift`: do new images look like those that a model was fitted on?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ulfine_cache.command import command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.wording.counts import amount

STRANGEST = 10


@command
def drift(
    *,
    model: Path,
    inputs: Sequence[Path],
    out: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Say whether new images look like those of a model.

    Three tests on features and classes allow for the number of images: of batches in which nothing has changed at most
    3 % raise an alarm. The command line then ends with the exit code 1. A few images show only large changes.

    Args:
        model: Directory of a run, or an exported ``.onnx`` file: both remember a sample of the rows of their fit.
        inputs: Images, or folders of images with all their subfolders; or features, as of `predict`.
        out: Write an HTML page with the classes, what there is more of than before, and the strangest pictures.
        progress: Told about the images.

    Returns:
        Figures: model, images, reference (rows that are compared with), alarm, changed and p_values (as
        `ulfine_fast.deciding.drift_test.Drift.figures`), classes (name, former and new share of the answers, those that
        changed most first), changed_classes (names, those whose share changed beyond chance), clusters (groups of
        look-alikes that are more frequent now: former, new, p_value, paths), far (share of images further from all
        former ones than 95 % of those are from each other), strangest (path and distance of the furthest), unreadable
        (list of {"path", "reason"}), out, seconds.

    Raises:
        UlfineError: The model cannot be used or remembers no rows, the images cannot be used, or `out` cannot be
            written.

    Example:
        >>> drift(model=Path("runs/first"), inputs=[Path("photos-cache")])["images"] > 0
        True
    """
    import numpy as np

    from ulfine_exports.drifting.clusters import grown_clusters
    from ulfine_exports.drifting.compared_rows import rows_of_file, rows_of_run
    from ulfine_fast.deciding.drift_test import compare_rows

    started = time.perf_counter()
    if not model.exists():
        raise UlfineError(f"no model at {model}: give the directory of a run or an exported .onnx file")
    if out is not None:
        from ulfine_exports.pages.extra import check_packages

        check_packages("the page", figures=False)
    rows = (rows_of_run if model.is_dir() else rows_of_file)(model, inputs, progress)
    former, names = rows.former, rows.class_names
    progress.note(
        f"comparing {amount(len(rows.new), 'image')} with {amount(len(former), 'row')} that {model} was fitted on"
    )
    drift = compare_rows(former, rows.new, rows.former_answers, rows.new_answers, len(names))
    moved = np.argsort(-np.abs(drift.shares[:, 1] - drift.shares[:, 0]), kind="stable")
    strangest = np.argsort(-drift.distances, kind="stable")[:STRANGEST]
    figures: dict[str, Any] = {
        "model": str(model),
        "images": rows.images,
        "reference": len(former),
        **drift.figures(),
        "classes": [
            {"name": names[k], "former": float(drift.shares[k, 0]), "new": float(drift.shares[k, 1])}
            for k in moved.tolist()
        ],
        "changed_classes": [names[k] for k in drift.changed_classes],
        "clusters": [
            {
                **{key: value for key, value in group.items() if key != "rows"},
                "paths": [rows.paths[place] for place in group["rows"]],
            }
            for group in grown_clusters(former, rows.new)
        ],
        "far": float((drift.distances > drift.usual).mean()),
        "strangest": [
            {"path": rows.paths[place], "distance": float(drift.distances[place])} for place in strangest.tolist()
        ],
        "unreadable": rows.unreadable,
    }
    if out is not None:
        from ulfine_exports.drifting.drift_page import write_drift_page

        write_drift_page(out, figures)
    return {**figures, "out": None if out is None else str(out), "seconds": round(time.perf_counter() - started, 3)}
