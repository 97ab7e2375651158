"""A progress that is told URLs instead of the paths that stand for them."""

from ulfine_cache.progress import Progress
from ulfine_cache.remote.places import in_words


class InWords:
    """Hands on what it is told.

    Args:
        progress: Receives it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        """Hand on how far the work is."""
        self._progress.update(stage, done, total, **figures)

    def note(self, message: str) -> None:
        """Hand on a note."""
        self._progress.note(in_words(message))
