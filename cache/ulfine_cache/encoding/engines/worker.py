"""What every worker of an engine does, whatever it makes: it loads what it needs once, and makes one file at a time."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.progress import Silent
from ulfine_cache.store.layout import WORKERS


class Counting(Silent):
    """How far the file is that is being made."""

    def __init__(self) -> None:
        self.images, self.busy, self.notes = 0, 0.0, list[str]()

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        """Take note of the images that are done."""
        self.images, self.busy = done, figures.get("encoder_busy", 0.0)

    def note(self, message: str) -> None:
        """Keep a line for the process that gave the command."""
        self.notes.append(message)


class Worker:
    """One worker. What it is asked for is answered in small values; what it makes stays in its files."""

    def __init__(self) -> None:
        self._progress = Counting()

    def ready(self) -> dict[str, Any]:
        """Load all that is needed, and say so.

        Returns:
            What the job wants to hear; or "refused", a line, and "usage".
        """
        try:
            return self._load()
        except UlfineError as error:
            return _refused(error)

    def make(self, number: int, listing: str) -> dict[str, Any]:
        """Make the file of a block.

        Args:
            number: Which one.
            listing: Digest of its images as they were listed by the process that gave the command.

        Returns:
            What the job makes of it, and "notes", lines to be told; or as `ready`.
        """
        self._progress = progress = Counting()
        try:
            return {**self._make(number, listing, progress), "notes": progress.notes}
        except UlfineError as error:
            return _refused(error)

    def at(self) -> tuple[int, float]:
        """How many images of the block that is being made are done, and the share of the time it was busy."""
        return self._progress.images, self._progress.busy

    def _load(self) -> dict[str, Any]:
        raise NotImplementedError

    def _make(self, number: int, listing: str, progress: Counting) -> dict[str, Any]:
        raise NotImplementedError


def check_place(out: Path, token: str, what: str) -> None:
    """Refuse to work where the folder is another one than that of the process that gave the command.

    Args:
        out: The folder.
        token: What the process wrote there.
        what: The folder in words, such as "the cache directory".

    Raises:
        UlfineError: It is not seen here.
    """
    try:
        found = (out / WORKERS).read_text("ascii")
    except (OSError, ValueError):
        found = ""
    if found != token:
        raise UlfineError(
            f"the worker on {platform.node()} does not see {what} {out} of the process that gave the command: choose "
            "an --out on a file system that all machines of the cluster share, by the same path"
        )


def check_versions(wanted: Mapping[str, str], here: Mapping[str, str], what: str) -> None:
    """Refuse to work with other versions than those of the process that gave the command.

    Args:
        wanted: Its versions, by library.
        here: Those of this process.
        what: Would differ otherwise, such as "features".

    Raises:
        UlfineError: Some differ.
    """
    other = [
        f"{name} {here.get(name, 'none')} instead of {version}"
        for name, version in wanted.items()
        if here.get(name) != version
    ]
    if other:
        raise UlfineError(
            f"the worker on {platform.node()} has {', '.join(other)}: install the same versions on all machines, "
            f"or {what} would differ"
        )


def other_images(source: str) -> UlfineError:
    """The error where a source lists other images than those that the process that gave the command has listed."""
    return UlfineError(
        f"the worker on {platform.node()} finds other images in {source} than the process that gave the command: it "
        "is another folder there, or has changed meanwhile; run the same command again, it goes on"
    )


def hide_gpus() -> None:
    """Let nothing in this process find a GPU; for a worker that holds none, before it imports anything."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def _refused(error: UlfineError) -> dict[str, Any]:
    return {"refused": str(error), "usage": isinstance(error, UsageError)}
