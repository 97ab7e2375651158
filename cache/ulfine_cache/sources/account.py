"""What a source holds besides its images, and how it was read, for the closing lines of a command."""

from collections import Counter


class Account:
    """Kept by a source while it lists itself: nothing in it disappears without a trace.

    Every file of a source is one of three things: an item of the listing, which becomes a row or a line of
    `skipped.csv`, or it is counted here.

    Attributes:
        ignored: How many files are no images, by their extension or by another reason.
        notes: How the source was read, where that is not obvious.
        warnings: What looks wrong.
        several: Paths of images with several classes: they are neither labelled nor unlabelled, but left out.
        missing_said: Whether the user has said which words mean unlabelled, so that all others are meant as classes.
    """

    def __init__(self) -> None:
        self.missing_said = False
        self.several: set[str] = set()
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
        self.several |= other.several
        self.missing_said |= other.missing_said
