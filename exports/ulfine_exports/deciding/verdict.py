"""The rule by which a new model is turned down."""

from typing import Any


def judged(common: dict[str, Any], max_drop: float, doubt: str) -> dict[str, Any]:
    """Say whether a new model is worse.

    Args:
        common: Figures of the rows of common classes, as `ulfine_fast.deciding.contest.Contest.figures`.
        max_drop: How much macro accuracy may fall, a fraction of 1.
        doubt: ``"new"`` or ``"old"``, who has its benefit.

    Returns:
        ``worse`` and ``verdict``, a sentence without a full stop.

    Example:
        >>> macro = {"old": 0.9, "new": 0.88, "difference": -0.02, "low": -0.05, "high": 0.01}
        >>> [judged({"macro_accuracy": macro}, 0.01, doubt)["worse"] for doubt in ("new", "old")]
        [False, True]
    """
    macro = common["macro_accuracy"]
    drop, low, high = -macro["difference"], macro["low"], macro["high"]
    changed = f"{100 * macro['difference']:+.1f} points of macro accuracy ({100 * low:+.1f} to {100 * high:+.1f})"
    allowed = f"{100 * max_drop:g}"
    if doubt == "old":
        if -low > max_drop:
            return _verdict(True, f"{changed}: a fall by more than {allowed} cannot be ruled out")
        return _verdict(False, f"{changed}: a fall by more than {allowed} can be ruled out")
    if drop > max_drop and high < 0:
        return _verdict(True, f"{changed}: worse beyond doubt, and by more than {allowed}")
    if drop > max_drop:
        return _verdict(False, f"{changed}: more than {allowed} lower, but these rows may just be unlucky ones")
    return _verdict(False, f"{changed}: not lower by more than {allowed}")


def _verdict(worse: bool, sentence: str) -> dict[str, Any]:
    return {"worse": worse, "verdict": sentence}
