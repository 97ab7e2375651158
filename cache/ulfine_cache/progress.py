"""How long work reports on itself, without knowing whether anyone is watching."""

from typing import Protocol


class Progress(Protocol):
    """What a command hands to the rooms so that they can report."""

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        """Report that `done` of `total` units of `stage` are finished.

        Args:
            stage: What is being done, such as ``"encoding"``.
            done: Units finished so far, counted from the start of the stage.
            total: Units in all, or None where unknown.
            **figures: Values worth showing beside the count, such as ``loss``.
        """
        ...

    def note(self, message: str) -> None:
        """Say one line that stays, such as which device runs."""
        ...


class Silent:
    """The `Progress` of code that nobody watches."""

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        """Do nothing."""

    def note(self, message: str) -> None:
        """Do nothing."""
