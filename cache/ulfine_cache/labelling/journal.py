"""The file of decisions as it grows: every one is on the disk before it counts, and none is ever taken out again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

from ulfine_cache.atomic import make_directory, reason, sync_directory
from ulfine_cache.errors import UlfineError
from ulfine_cache.labelling.decisions import COLUMNS, complete_length
from ulfine_cache.names.csv_cells import csv_bytes
from ulfine_cache.progress import Progress, Silent
from ulfine_cache.sources.tables.csv_table import CsvTable
from ulfine_cache.sources.trees.regular_file import open_regular, read_regular
from ulfine_cache.wording.counts import amount

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class Decision(NamedTuple):
    """One line of the file.

    Attributes:
        path: The image's, as the cache has it.
        label: Name of the class that was decided, "" for none.
        former: Name of the class till then, "" for none.
        time: In UTC, to the microsecond; decisions that were made together have the same.
    """

    path: str
    label: str
    former: str
    time: str


class Journal:
    """A file of decisions that is appended to; one process has it at a time.

    Args:
        path: The file; it is made where it is missing. A last line that was cut off is taken out.
        progress: Told about that.

    Attributes:
        path: The same.
        decisions: All lines, the earliest first.
        batches: Decisions that may be undone, the last ones last; each batch was made together.

    Raises:
        UlfineError: Another process has it, it is no such file, or it cannot be read or written.

    Example:
        >>> with Journal(Path("decided.csv")) as journal:
        ...     _ = journal.append([("seven/0001.png", "three", "seven")])
        ...     journal.undo()[0].label
        'seven'
    """

    def __init__(self, path: Path, progress: Progress = Silent()) -> None:  # noqa: B008
        self.path = path
        make_directory(path.parent)
        with _words(path):
            new = not path.exists()
            if not new:
                open_regular(str(path)).close()  # what is no file is not opened for writing
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            self._hold()
            self._repair(progress)
            self.decisions = self._read()
            if new:
                with _words(path):
                    sync_directory(path.parent)
        except BaseException:
            self.close()
            raise
        self.batches = _batches(self.decisions)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have the file."""
        with contextlib.suppress(OSError):
            os.close(self._file)

    def append(self, decisions: Sequence[tuple[str, str, str]]) -> list[Decision]:
        """Write decisions that were made together; they are on the disk when this returns.

        Args:
            decisions: Path, label and former label of each.

        Raises:
            UlfineError: They cannot be written; then none of them is in the file.
        """
        made = self._write(decisions)
        if made:
            self.batches.append(made)
        return made

    def undo(self) -> list[Decision]:
        """Take back what was decided last, by writing the former labels behind it; [] where nothing is left.

        Raises:
            UlfineError: As by `append`.
        """
        if not self.batches:
            return []
        made = self._write([(each.path, each.former, each.label) for each in self.batches[-1]])
        self.batches.pop()
        return made

    def _write(self, decisions: Sequence[tuple[str, str, str]]) -> list[Decision]:
        now = datetime.now(UTC)
        last = self.decisions[-1].time if self.decisions else ""
        time = max(now.isoformat(timespec="microseconds"), _after(last))
        made = [Decision(*decision, time) for decision in decisions]
        content = csv_bytes(made)
        before = os.fstat(self._file).st_size
        try:
            written = os.write(self._file, content)
            if written < len(content):
                raise OSError(f"only {amount(written, 'byte')} fit")
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise _unwritable(self.path, error) from error
        self.decisions += made
        return made

    def _hold(self) -> None:
        if not fcntl:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UlfineError(
                f"another process is labelling into {self.path}: use its page, or choose another --out"
            ) from None
        except OSError:
            return  # a file system without locks

    def _repair(self, progress: Progress) -> None:
        with _words(self.path):
            content = read_regular(str(self.path))
            whole = complete_length(content)
            if whole < len(content) and not content.startswith(csv_bytes([COLUMNS])) and whole:
                return  # somebody else's file, which is refused as it is
            if whole < len(content):
                os.ftruncate(self._file, whole)
                os.fsync(self._file)
                progress.note(f"the last line of {self.path} was cut off while it was written, and is taken out")
            if not whole:
                os.write(self._file, csv_bytes([COLUMNS]))
                os.fsync(self._file)

    def _read(self) -> list[Decision]:
        table = CsvTable(str(self.path), lambda: open_regular(str(self.path)))
        if tuple(table.columns) != COLUMNS:
            raise UlfineError(
                f"{self.path} has the columns {', '.join(table.columns)} and not {','.join(COLUMNS)}: choose another "
                "--out; `ulfine fit --apply` takes it all the same"
            )
        return [Decision(*map(str, cells)) for _, cells in table.rows(COLUMNS)]


def _batches(decisions: Sequence[Decision]) -> list[list[Decision]]:
    """What may be undone: decisions that were made together, less what was taken back."""
    found: list[list[Decision]] = []
    together: list[Decision] = []
    for each in decisions:
        if together and together[0].time != each.time:
            _settle(found, together)
            together = []
        together.append(each)
    if together:
        _settle(found, together)
    return found


def _settle(batches: list[list[Decision]], made: list[Decision]) -> None:
    if batches and [each[:3] for each in made] == [(each.path, each.former, each.label) for each in batches[-1]]:
        batches.pop()
    else:
        batches.append(made)


def _after(time: str) -> str:
    """The microsecond after a time, or "" where it is none: two batches never have the same."""
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return ""
    return datetime.fromtimestamp(moment.timestamp() + 2e-6, UTC).isoformat(timespec="microseconds")


@contextlib.contextmanager
def _words(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> UlfineError:
    return UlfineError(f"cannot write {path}: {reason(error)}; free some space or choose another --out")
