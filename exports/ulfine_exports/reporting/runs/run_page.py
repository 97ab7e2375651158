"""The page of a run: facts in, one HTML text out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from ulfine_cache.wording.counts import amount
from ulfine_exports.pages.render import render
from ulfine_exports.pages.thumbnails import Thumbnails
from ulfine_exports.reporting.runs.class_part import class_part
from ulfine_exports.reporting.runs.confidence_part import confidence_part, pseudo_label_part
from ulfine_exports.reporting.runs.head_part import crossed, origin, subtitle, tiles
from ulfine_exports.reporting.runs.history_figure import history_plots
from ulfine_exports.reporting.runs.map_part import map_part
from ulfine_exports.reporting.runs.picture_part import galleries, pairs

if TYPE_CHECKING:
    from ulfine_exports.reporting.runs.run_facts import RunFacts

BUDGET = 1_500_000
"""Bytes of the thumbnails in galleries; those on the map have as much, so that a page stays below 5 MB."""

MAP_SIZE = 64
"""Longest side of a thumbnail on the map, pixels."""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        text: HTML.
        missing: Sentences about what it cannot show.
    """

    text: str
    missing: list[str]


def run_page(facts: RunFacts, map_method: str, *, most_listed: int | None = None) -> Page:
    """Put everything that is known of a run into one page.

    Args:
        facts: From `ulfine_exports.reporting.runs.run_facts.gather`.
        map_method: ``"pca"`` or ``"tsne"``.
        most_listed: Rows of a cache above which no pictures are shown; None for no such bound.

    Returns:
        The page. Same run, same text.
    """
    run = facts.run
    cache = facts.cache
    small = cache is not None and (most_listed is None or cache.n_rows <= most_listed)
    thumbnails, on_map = (Thumbnails(cache if small else None, size=side, budget=BUDGET) for side in (96, MAP_SIZE))
    missing = _missing(facts, thumbnails, small=small)
    text = render(
        "run.html",
        title=f"Run {run.path.resolve().name}",
        styles=["report.css"],
        scripts=["sort.js", "map.js"],
        missing=missing,
        version=(run.provenance.get("versions") or {}).get("ulfine-fast", ""),
        rows="left-out labelled images" if facts.by_cross_validation else "test images",
        subtitle=subtitle(facts),
        tiles=tiles(run),
        cross=crossed(run),
        classes=class_part(facts),
        trust=confidence_part(facts),
        pseudo_labels=pseudo_label_part(facts),
        pairs=pairs(facts, thumbnails),
        galleries=galleries(facts, thumbnails),
        map=map_part(facts, on_map, map_method),
        history=history_plots(facts.history),
        settings=yaml.safe_dump(run.config, sort_keys=True, allow_unicode=True),
        provenance=json.dumps(run.provenance, indent=2, ensure_ascii=False, default=str),
        metrics=json.dumps(run.metrics, indent=2, ensure_ascii=False, default=str),
        origin=origin(run),
    )
    return Page(text, missing)


def _missing(facts: RunFacts, thumbnails: Thumbnails, *, small: bool) -> list[str]:
    missing = list(facts.missing)
    if facts.cache is not None and not small:
        missing.append(
            f"Pictures are left out, since the cache has {amount(facts.cache.n_rows, 'row')}: "
            "`ulfine report RUN --out FILE` puts them in."
        )
    elif facts.cache is not None and thumbnails.missing:
        missing.append(f"Pictures are missing: {thumbnails.missing}.")
    if facts.by_cross_validation:
        missing.append(
            "The run has no test rows. What stands here is cross-validated: said of labelled images by fits that had "
            "not seen them. A class of one labelled image cannot be judged in this way."
        )
    elif not facts.run.metrics.get("test_rows"):
        missing.append(
            "The run has no test rows, so nothing here says how often it is right: put labelled images into test/, or "
            "draw a split with `ulfine split --test-per-class K`."
        )
    judged = facts.judged
    if judged is not None and judged.of > len(judged.rows):
        missing.append(f"Single answers are those of {len(judged.rows):,} of {judged.of:,} rows, evenly chosen.")
    return missing
