"""The page of `ulfine diff`: what was compared, the classes, and the pictures whose answer changed."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ulfine_exports.deciding.contest_rows import ContestRows
    from ulfine_exports.pages.thumbnails import Thumbnails

GALLERY = 24
"""Most pictures of a gallery."""

_GALLERIES = (
    ("lost", "Lost", "Right before, wrong now; the surest first."),
    ("won", "Won", "Wrong before, right now; the surest first."),
    ("both_wrong", "Wrong in another way", "Wrong before and wrong now, with another answer."),
)


def write_diff_page(out: Path, figures: dict[str, Any], found: "ContestRows") -> None:
    """Write the page.

    Args:
        out: HTML file.
        figures: Of `ulfine_exports.diff.diff`.
        found: The answers.

    Raises:
        UlfineError: jinja2 is missing, or the file cannot be written.
    """
    from ulfine_cache.atomic import make_directory, replacing
    from ulfine_exports.pages.extra import check_packages
    from ulfine_exports.pages.render import render
    from ulfine_exports.pages.thumbnails import Thumbnails
    from ulfine_fast.version import __version__

    check_packages("the page", figures=False)
    thumbnails = Thumbnails(found.cache)
    flips = found.contest.flips()
    shown = {name: _shots(found, places[:GALLERY], thumbnails) for name, places in flips.items()}
    galleries = [
        {"title": title, "words": words, "of": len(flips[name]), "shots": shown[name]}
        for name, title, words in _GALLERIES
        if shown[name]
    ]
    page = render(
        "diff.html",
        title=f"{Path(figures['new']).name} against {Path(figures['old']).name}",
        styles=["report.css"],
        scripts=["sort.js"],
        figures=figures,
        classes=sorted(figures["per_class"], key=lambda entry: entry["difference"] or 0.0),
        galleries=galleries,
        missing=thumbnails.missing if galleries else "",
        version=__version__,
    )
    make_directory(out.parent)
    with replacing(out) as partial:
        partial.write_bytes(page.encode())


def _shots(found: "ContestRows", places: "NDArray[Any]", thumbnails: "Thumbnails") -> list[dict[str, Any]]:
    contest = found.contest
    shots: list[dict[str, Any]] = []
    for place in places.tolist():
        row = int(found.rows[place])
        told = [(contest.names[int(of[place].argmax())], float(of[place].max())) for of in (contest.old, contest.new)]
        shots.append(
            {
                "src": thumbnails.of(row),
                "path": found.cache.paths[row],
                "is": contest.names[int(contest.truth[place])],
                "old": told[0],
                "new": told[1],
            }
        )
    return shots
