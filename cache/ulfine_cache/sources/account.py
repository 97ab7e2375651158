"""What a source holds besides its images, and how it was read, for the closing lines of a command."""

from collections import Counter
from collections.abc import Mapping

_SHOWN = 6


class Account:
    """Kept by a source while it lists itself: nothing in it disappears without a trace.

    Every file of a source is one of three things: an item of the listing, which becomes a row or a line of
    `skipped.csv`, or it is counted here.

    Attributes:
        ignored: How many files are no images, by their extension or by another reason.
        notes: How the source was read, where that is not obvious.
        warnings: What looks wrong.
        missing_said: Whether the user has said which words mean unlabelled, so that all others are meant as classes.
    """

    def __init__(self) -> None:
        self.missing_said = False
        self.ignored: Counter[str] = Counter()
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def ignore(self, kind: str, count: int = 1) -> None:
        """Count files that are no images, such as ".txt" or "hidden"."""
        if count:
            self.ignored[kind] += count

    def note(self, line: str) -> None:
        """Say how the source was read."""
        # Several tables may be read in the same way.
        if line not in self.notes:
            self.notes.append(line)

    def warn(self, line: str) -> None:
        """Say what looks wrong."""
        self.warnings.append(line)

    def include(self, other: "Account") -> None:
        """Take over all that another account holds."""
        self.ignored.update(other.ignored)
        self.notes += other.notes
        self.warnings += other.warnings
        self.missing_said |= other.missing_said


def counted(counts: Mapping[str, int], most: int = _SHOWN) -> str:
    """Name what was counted, the most frequent first.

    Example:
        >>> counted({".txt": 2, "hidden": 10})
        '10 hidden, 2 .txt'
    """
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    rest = sum(count for _, count in ranked[most:])
    shown = [f"{count} {name}" for name, count in ranked[:most]]
    return ", ".join([*shown, f"{rest} others"] if rest else shown)


def listed(names: list[str], most: int = _SHOWN) -> str:
    """Name a few of many.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
