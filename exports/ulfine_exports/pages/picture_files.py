"""Figures as files of their own, for papers and slides: same data, same bytes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ulfine_cache.atomic import make_directory, replacing
from ulfine_exports.pages.figures import WIDTH, styled_figure

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".pdf", ".png")

_FOR_PAPER = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": 300,
    # Letters as outlines and TrueType: alike everywhere, and what publishers take.
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
_UNDATED = {
    ".svg": dict.fromkeys(("Date", "Creator")),
    ".pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
    ".png": {"Software": None},
}


@contextmanager
def picture_file(path: Path, label: str, *, height: float, width: float = WIDTH) -> Generator[tuple[Figure, Any]]:
    """Draw a figure into a file, complete or not at all.

    Args:
        path: With one of `SUFFIXES`.
        label: What the picture shows.
        height: Inches.
        width: Inches.

    Yields:
        The figure and its axes.

    Raises:
        UlfineError: The file cannot be written.
    """
    with styled_figure(label, height=height, width=width, more=_FOR_PAPER) as (figure, axes):
        yield figure, axes
        make_directory(path.parent)
        with replacing(path) as partial:
            figure.savefig(partial, format=path.suffix[1:], metadata=_UNDATED[path.suffix])
