"""`ulfine drift`: do new images look like those that a run was fitted on?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ulfine_cache.command import command
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.wording.counts import amount

MOST_ROWS = 1000
"""New rows that are tested; of more, a sample that covers them evenly."""

STRANGEST = 10


@command
def drift(
    *,
    model: Path,
    inputs: Sequence[Path],
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Say whether new images look like those of a run.

    Three tests on features and classes allow for the number of images: of batches in which nothing has changed at most
    3 % raise an alarm. The command line then ends with the exit code 1. A few images show only large changes.

    Args:
        model: Directory of a run, which remembers a sample of the rows that it was fitted on.
        inputs: Images, or folders of images with all their subfolders; or features, as of `predict`.
        progress: Told about the images.

    Returns:
        Figures: model, images, reference (rows that are compared with), alarm, changed and p_values (as
        `ulfine_fast.deciding.drift_test.Drift.figures`), classes (name, former and new share of the answers, those that
        changed most first), far (share of images further from all former ones than 95 % of those are from each other),
        strangest (path and distance of the furthest), unreadable (list of {"path", "reason"}), seconds.

    Raises:
        UlfineError: The model is no run or remembers no rows, or the images cannot be used.

    Example:
        >>> drift(model=Path("runs/first"), inputs=[Path("photos-cache")])["images"] > 0
        True
    """
    import numpy as np

    from ulfine_exports.deciding.input_features import input_features
    from ulfine_fast.deciding.drift_test import compare_rows
    from ulfine_fast.records.reference_rows import read_reference
    from ulfine_fast.rows.sample_places import sample_places
    from ulfine_fast.run import load_run

    started = time.perf_counter()
    if not model.is_dir():
        raise UlfineError(
            f"{model} is no run: an exported file does not remember what its run was fitted on, name that"
        )
    run = load_run(model)
    former = read_reference(model)
    found = input_features(run, inputs, progress)
    if not len(found.paths):
        raise UlfineError(f"none of the inputs can be read: {found.unreadable[0]['reason']}")
    chosen = sample_places(len(found.paths), MOST_ROWS)
    new = found.features[chosen]
    new /= np.maximum(np.linalg.norm(new, axis=1, keepdims=True), 1e-12)
    progress.note(f"comparing {amount(len(new), 'image')} with {amount(len(former), 'row')} that {model} was fitted on")
    answers = [run.predict_proba(rows).argmax(1) for rows in (former, new)]
    drift = compare_rows(former, new, answers[0], answers[1], len(run.class_names))
    moved = np.argsort(-np.abs(drift.shares[:, 1] - drift.shares[:, 0]), kind="stable")
    strangest = np.argsort(-drift.distances, kind="stable")[:STRANGEST]
    return {
        "model": str(model),
        "images": len(found.paths),
        "reference": len(former),
        **drift.figures(),
        "classes": [
            {"name": run.class_names[k], "former": float(drift.shares[k, 0]), "new": float(drift.shares[k, 1])}
            for k in moved.tolist()
        ],
        "far": float((drift.distances > drift.usual).mean()),
        "strangest": [
            {"path": found.paths[int(chosen[place])], "distance": float(drift.distances[place])}
            for place in strangest.tolist()
        ],
        "unreadable": found.unreadable,
        "seconds": round(time.perf_counter() - started, 3),
    }
