"""`ulfine diff`: last week's model against this week's, so that a pipeline can decide."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Le

from ulfine_cache.command import Place, command
from ulfine_cache.progress import Progress, Silent

if TYPE_CHECKING:
    from ulfine_fast.deciding.contest import Contest


@command
def diff(
    *,
    old: Path,
    new: Path,
    cache: Place | None = None,
    split: str | None = None,
    apply: Path | None = None,
    max_drop: Annotated[float, Ge(0), Le(1)] = 0.01,
    doubt: Literal["new", "old"] = "new",
    out: Path | None = None,
    progress: Progress = Silent(),  # noqa: B008
) -> dict[str, Any]:
    """Compare a new model with an old one on test rows.

    Each answers as it would in use, with all classes that it has. Rows of the classes that both have decide: where
    macro accuracy falls by more than `max_drop`, and the 95 % interval of the paired difference says that the new one
    is really worse, the command line ends with the exit code 1. Rows that either model was fitted on are left out.

    Args:
        old: Directory of a run, or an exported ``.onnx`` file.
        new: The same; it may have other classes.
        cache: Cache with the test rows; without it that of `new`, or else of `old`. A file that takes images gets the
            images of the cache.
        split: Named split with the test rows; without it that of the run whose cache is taken, or the cache's own sets.
        apply: CSV file of decisions about labels, as of ``fit``. Without it those that `new` was fitted with.
        max_drop: How much macro accuracy may fall, a fraction of 1.
        doubt: Who has the benefit of the doubt. ``new``: it fails where it has fallen by more than `max_drop` and is
            worse beyond doubt. ``old``: it fails unless a fall by more than `max_drop` can be ruled out, which takes
            many test rows.
        out: Write an HTML page with the classes and the pictures whose answer changed.
        progress: Told what is compared.

    Returns:
        Figures: old, new, cache, split, test_rows, left_out_rows (because a model was fitted on them), unknown_rows (of
        a class that neither has), new_classes and gone_classes (names), taken_for_new (rows of common classes that are
        taken for new ones); common and whole, the rows of common classes and all of them, each as
        `ulfine_fast.deciding.contest.Contest.figures`; flips (lost, won, both_wrong: rows); per_class; models (old
        and new, each bytes and seconds for the rows); max_drop, doubt, worse, verdict (a sentence); out, seconds.

    Raises:
        UlfineError: A model, the cache or the split cannot be used, the models have no class in common, there are no
            test rows that neither was fitted on, or `out` cannot be written.

    Example:
        >>> diff(old=Path("runs/first"), new=Path("runs/first"))["worse"]
        False
    """
    from ulfine_exports.deciding.contest_rows import read_contest
    from ulfine_exports.deciding.verdict import judged

    started = time.perf_counter()
    found = read_contest(old, new, cache, split, apply, progress)
    contest = found.contest
    common, whole = contest.figures(contest.common), contest.figures(contest.truth >= 0)
    flips = contest.flips()
    figures: dict[str, Any] = {
        "old": str(old),
        "new": str(new),
        "cache": str(found.cache.path),
        "split": found.split,
        "test_rows": len(contest.truth),
        "left_out_rows": found.left_out,
        "unknown_rows": found.unknown,
        "new_classes": _only(contest, 1),
        "gone_classes": _only(contest, 0),
        "taken_for_new": int((~contest.known[0][contest.new.argmax(axis=1)])[contest.common].sum()),
        "common": common,
        "whole": whole,
        "flips": {name: len(places) for name, places in flips.items()},
        "per_class": contest.per_class(),
        "models": found.models,
        "max_drop": max_drop,
        "doubt": doubt,
        **judged(common, max_drop, doubt),
    }
    if out is not None:
        from ulfine_exports.deciding.diff_page import write_diff_page

        write_diff_page(out, figures, found)
    return {**figures, "out": None if out is None else str(out), "seconds": round(time.perf_counter() - started, 3)}


def _only(contest: Contest, side: int) -> list[str]:
    """Names of the classes that one side alone knows."""
    alone = contest.known[side] & ~contest.known[1 - side]
    return [name for name, mine in zip(contest.names, alone.tolist(), strict=True) if mine]
