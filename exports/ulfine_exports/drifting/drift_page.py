"""The page of `ulfine drift`: what the tests say, the classes, and the pictures that are new or strange."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CLASSES = 30
"""Most classes that are listed."""

_QUESTIONS = {
    "features": "Do the pictures as a whole look alike?",
    "neighbours": "Does each lie among former ones?",
    "classes": "Are the classes as frequent?",
}


def write_drift_page(out: Path, figures: dict[str, Any]) -> None:
    """Write the page.

    Args:
        out: HTML file.
        figures: Of `ulfine_exports.drift.drift`.

    Raises:
        UlfineError: jinja2 is missing, or the file cannot be written.
    """
    from ulfine_cache.atomic import make_directory, replacing
    from ulfine_exports.pages.extra import check_packages
    from ulfine_exports.pages.render import render
    from ulfine_fast.version import __version__

    check_packages("the page", figures=False)
    shots = {
        path: _thumbnail(path)
        for path in (
            *(item["path"] for item in figures["strangest"]),
            *(path for group in figures["clusters"] for path in group["paths"]),
        )
    }
    page = render(
        "drift.html",
        title=f"Drift: {Path(figures['model']).name}",
        styles=["report.css"],
        scripts=["sort.js"],
        figures=figures,
        questions=[
            (_QUESTIONS[name], p_value, name in figures["changed"]) for name, p_value in figures["p_values"].items()
        ],
        classes=figures["classes"][:CLASSES],
        shots=shots,
        version=__version__,
    )
    make_directory(out.parent)
    with replacing(out) as partial:
        partial.write_bytes(page.encode())


def _thumbnail(path: str) -> str:
    """A small copy of an image file; "" where the row came without one, as those of a cache or an array."""
    from ulfine_exports.pages.thumbnails import thumbnail_of

    try:
        return thumbnail_of(Path(path).read_bytes(), 96)
    except (OSError, ValueError):
        return ""
