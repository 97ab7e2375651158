"""The part of a report with the map of the features: points, and what is told of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ulfine_exports.pages.render import short
from ulfine_exports.reporting.runs.feature_map import SIDE, feature_map

if TYPE_CHECKING:
    from ulfine_exports.pages.thumbnails import Thumbnails
    from ulfine_exports.reporting.runs.run_facts import RunFacts

PALETTE = 10
"""Classes that have a colour of their own; of more, head, medium and tail have one."""


def map_part(facts: RunFacts, thumbnails: Thumbnails, method: str) -> dict[str, Any] | None:
    """Points of the map with what is told of each; None where the cache is gone.

    Args:
        facts: Of a run.
        thumbnails: Of its cache.
        method: ``"pca"`` or ``"tsne"``.
    """
    cache, split, names = facts.cache, facts.split, facts.run.class_names
    if cache is None or split is None:
        return None
    found = feature_map(cache, split, method)
    said = _said(facts)
    colours = _colours(facts)
    points: list[dict[str, Any]] = []
    told: list[dict[str, str]] = []
    for row, part, (x, y) in zip(found.rows.tolist(), found.parts, found.places.tolist(), strict=True):
        label = -1 if part == "unlabelled" else int(cache.labels[row])
        taken, confidence = said.get(row, (-1, 0.0))
        # An unlabelled image is shown as what it is taken for, whatever else is known.
        shown = label if label >= 0 else taken
        points.append(
            {
                "x": round(x, 1),
                "y": round(y, 1),
                "part": part,
                "colour": colours.get(shown, ""),
                "class": shown,
                "wrong": part == "judged" and taken not in (-1, label),
            }
        )
        told.append(
            {
                "path": short(cache.paths[row], 60),
                "part": {"judged": "test"}.get(part, part),
                "is": short(names[label], 40) if label >= 0 else "",
                "said": f"{short(names[taken], 40)}, {100 * confidence:.1f} %" if taken >= 0 else "",
                "src": thumbnails.of(row),
            }
        )
    own = len(names) <= PALETTE
    return {
        "side": SIDE,
        "method": found.method,
        "points": points,
        "told": told,
        "of": len(split.labelled) + len(split.unlabelled) + len(split.test),
        "by_class": own,
        "legend": [short(names[k], 24) for k in facts.order] if own else list(facts.groups()),
        "names": sorted((short(name, 40), k) for k, name in enumerate(names)),
    }


def _said(facts: RunFacts) -> dict[int, tuple[int, float]]:
    """What the run says of rows: the class and its probability."""
    found: dict[int, tuple[int, float]] = {}
    for judged in (facts.judged, facts.unlabelled):
        if judged is not None:
            answers = zip(judged.predicted.tolist(), judged.confidence.tolist(), strict=True)
            found.update(zip(judged.rows.tolist(), answers, strict=True))
    return found


def _colours(facts: RunFacts) -> dict[int, int]:
    """The number of each class's colour in ``report.css``."""
    if len(facts.run.class_names) <= PALETTE:
        return {k: number for number, k in enumerate(facts.order.tolist())}
    return {k: number for number, classes in enumerate(facts.groups().values()) for k in classes.tolist()}
