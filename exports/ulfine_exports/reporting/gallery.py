"""What an inspection found, as a page with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ulfine_cache.atomic import make_directory, replacing
from ulfine_exports.pages.render import render
from ulfine_exports.pages.thumbnails import Thumbnails

if TYPE_CHECKING:
    from ulfine_cache.feature_cache import FeatureCache
    from ulfine_fast.inspecting.inspected import Inspected
    from ulfine_fast.inspecting.what import What

MOST_SHOWN = 240
"""Findings on a page; the table has all of them."""
SIZE = 160
"""Pixels of the longest side of a picture."""
BUDGET = 4_000_000
"""Bytes of all pictures."""

TITLES: dict[What, tuple[str, str]] = {
    "duplicates": (
        "Duplicates",
        "Pairs of the same file or of nearly the same picture, those on both sides of the test first: what a "
        "classifier has seen is no test of it.",
    ),
    "label-errors": (
        "Label errors",
        "Labels that fits without the image do not believe, the most suspicious first. Some are right all the same: "
        "rare and odd images are here too.",
    ),
    "outliers": (
        "Outliers",
        "Unlabelled images, those that belong to no class first, and the class that would be nearest.",
    ),
    "next-to-label": (
        "Next to label",
        "The images whose labels the rare classes would gain most from, in the order in which to label them, with the "
        "class that each may be.",
    ),
}


def write_gallery(out: Path, what: What, found: Inspected, cache: FeatureCache) -> None:
    """Write the page, complete or not at all. Same findings and pictures, same bytes.

    Args:
        out: HTML file.
        what: The question.
        found: Its answer.
        cache: Where the rows are; where its pictures are gone the page says so and names them only.

    Raises:
        UlfineError: Jinja2 is missing or the file cannot be written.
    """
    text = gallery_page(what, found, cache)
    make_directory(out.parent)
    with replacing(out) as partial:
        partial.write_text(text, encoding="utf-8")


def gallery_page(what: What, found: Inspected, cache: FeatureCache) -> str:
    """The page as HTML; arguments as of `write_gallery`."""
    import numpy as np

    from ulfine_fast.version import __version__

    # Only those worth a look; where nothing is suspected the first few, to show that nothing is.
    suspected = [item for item in found.findings if item.suspected]
    shown = (suspected or found.findings[:24])[:MOST_SHOWN]
    thumbnails = Thumbnails(cache, size=SIZE, budget=BUDGET)
    paths = cache.paths_of(np.array([item.row for item in shown], np.int64))
    items: list[dict[str, Any]] = []
    for path, item in zip(paths, shown, strict=True):
        pictures = [(thumbnails.of(item.row), path)]
        if item.beside is not None:
            pictures.append((thumbnails.of(item.beside), str(item.others.get("duplicate", ""))))
        items.append(
            {
                "pictures": pictures,
                "suggestion": item.suggestion,
                "score": None if item.score != item.score else item.score,
                "told": _told(what, item.others),
                "leak": bool(item.others.get("leak")),
            }
        )
    title, words = TITLES[what]
    return render(
        "gallery.html",
        title=f"{title} · {cache.path.name or cache.path.resolve().name}",
        styles=["gallery.css"],
        heading=title,
        words=words,
        lines=found.lines,
        items=items,
        pairs=what == "duplicates",
        nothing=bool(found.findings) and not suspected,
        shown=len(items),
        found=len(found.findings),
        missing=thumbnails.missing,
        version=__version__,
    )


def _told(what: What, others: dict[str, Any]) -> str:
    """One line about a finding beside its suggestion."""
    if what == "duplicates":
        return f"{others['kind']}: {others['sets']}"
    if what == "label-errors":
        return f"labelled {others['label']}"
    if what == "outliers":
        return f"nearest: {others['nearest_class']}"
    return f"doubt {100 * others['doubt']:.0f} %, {others['labelled']} labelled"
