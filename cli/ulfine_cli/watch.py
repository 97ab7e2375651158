"""Progress for people: a live bar on a terminal, now and then a plain line elsewhere, nothing when quiet."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TextIO

from ulfine_cache.names.written import shown
from ulfine_cache.progress import Progress, Silent


def watch(*, quiet: bool, stream: TextIO | None = None) -> AbstractContextManager[Progress]:
    """The progress that fits where standard error leads.

    Args:
        quiet: Show nothing.
        stream: Where progress is written; standard error by default, so that standard output holds results only.

    Returns:
        A context manager; what it yields goes to a command's `progress`.
    """
    if quiet:
        return _Quiet()
    target = stream or sys.stderr
    return LiveWatch(target) if target.isatty() else LineWatch(target)


class _Quiet(Silent):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LineWatch:
    """Plain lines for logs and pipes, at most one in `interval` seconds.

    A stage that is over before the interval has passed writes nothing.
    """

    def __init__(self, stream: TextIO, interval: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._interval = interval
        self._clock = clock
        self._stage = ""
        self._done = 0
        self._begun_at = (0.0, 0)
        self._last_line_at: float | None = None

    def __enter__(self) -> Self:
        """Nothing is written before there is something to say."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        """Write a line when the last one is old enough."""
        now = self._clock()
        if stage != self._stage or done < self._done:
            # Work that was finished by an earlier run must not count towards the rate.
            self._stage, self._begun_at = stage, (now, done)
        self._done = done
        if self._last_line_at is None:
            # The first interval starts with the work, not with the imports before it.
            self._last_line_at = now
        if now - self._last_line_at < self._interval:
            return
        self._last_line_at = now
        began, first = self._begun_at
        rate = (done - first) / (now - began) if now > began else 0.0
        parts = [f"{stage} {done}" if total is None else f"{stage} {done}/{total}"]
        if rate > 0:
            parts.append(f"{rate:.3g}/s")
            if total is not None:
                parts.append(f"{_duration((total - done) / rate)} left")
        parts += _figures(figures)
        self._write(", ".join(parts))

    def note(self, message: str) -> None:
        """Write the message."""
        self._write(message)

    def _write(self, line: str) -> None:
        self._stream.write(shown(line) + "\n")
        self._stream.flush()


class LiveWatch:
    """A bar for each stage, with its rate and the time left, redrawn in place.

    Until there is something to tell, which takes seconds where torch or a large model is loaded, a line says that the
    command is starting; it leaves no trace.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars
        from rich.progress import Task as Bar
        from rich.text import Text

        class Rate(ProgressColumn):
            """Units a second."""

            def render(self, task: Bar) -> Text:
                speed = task.finished_speed or task.speed
                return Text(f"{speed:,.3g}/s" if speed else "", style="progress.data.speed")

        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[figures]}", style="dim"),
            console=Console(file=stream, highlight=False),
            transient=False,
        )
        self._starting = self._bars.console.status("starting", spinner="line")
        self._tasks: dict[str, Any] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Say that the command is starting."""
        self._starting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Draw the last state and give the cursor back."""
        self._starting.stop()
        if self._tasks:
            self._bars.stop()

    def update(self, stage: str, done: int, total: int | None, **figures: float) -> None:
        """Move the stage's bar."""
        told = ", ".join(_figures(figures))
        self._starting.stop()
        self._bars.start()  # which does nothing when it has been started
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(shown(stage), total=total, completed=done, figures=told)
        elif done < self._done[stage]:
            self._bars.reset(self._tasks[stage], total=total, completed=done, figures=told)
        else:
            self._bars.update(self._tasks[stage], total=total, completed=done, figures=told)
        self._done[stage] = done

    def note(self, message: str) -> None:
        """Write the message above the bars."""
        self._starting.stop()
        self._bars.console.print(shown(message), markup=False)


def _figures(figures: dict[str, float]) -> list[str]:
    return [f"{name.replace('_', ' ')} {value:.4g}" for name, value in figures.items()]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
