import io
import os
import pty

import pytest

from ulfine_cli.watch import LineWatch, LiveWatch, watch


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_line_watch__writes_when_the_interval_has_passed():
    stream, clock = io.StringIO(), Clock()
    with LineWatch(stream, interval=5.0, clock=clock) as progress:
        progress.update("encoding", 0, 100)
        clock.now += 4
        progress.update("encoding", 20, 100)
        assert stream.getvalue() == ""
        clock.now += 4
        progress.update("encoding", 40, 100, loss=0.12346)
        clock.now += 1
        progress.update("encoding", 45, 100)
    assert stream.getvalue() == "encoding 40/100, 5/s, 12 s left, loss 0.1235\n"


def test_line_watch__rate_leaves_out_what_was_done_before():
    stream, clock = io.StringIO(), Clock()
    with LineWatch(stream, interval=5.0, clock=clock) as progress:
        progress.update("encoding", 9_000, 10_000)
        clock.now += 10
        progress.update("encoding", 9_010, 10_000)
    assert stream.getvalue() == "encoding 9010/10000, 1/s, 16 min 30 s left\n"


def test_line_watch__unknown_total_and_new_stage():
    stream, clock = io.StringIO(), Clock()
    with LineWatch(stream, interval=5.0, clock=clock) as progress:
        progress.update("listing", 10, None)
        clock.now += 5
        progress.update("listing", 20, None)
        clock.now += 5
        progress.update("fitting", 1, 4)
    assert stream.getvalue() == "listing 20, 2/s\nfitting 1/4\n"


def test_line_watch__notes_are_written_at_once():
    stream = io.StringIO()
    with LineWatch(stream) as progress:
        progress.note("runs on cpu")
    assert stream.getvalue() == "runs on cpu\n"


def test_watch__quiet_writes_nothing():
    stream = io.StringIO()
    with watch(quiet=True, stream=stream) as progress:
        progress.note("hello")
        progress.update("encoding", 1, 1)
    assert stream.getvalue() == ""


def test_watch__pipe_gets_lines():
    assert isinstance(watch(quiet=False, stream=io.StringIO()), LineWatch)


def test_watch__terminal_gets_bars_with_rate_and_time_left(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as terminal:
        watcher = watch(quiet=False, stream=terminal)
        assert isinstance(watcher, LiveWatch)
        with watcher as progress:
            terminal.flush()
            progress.update("encoding", 10, 100)
            progress.note("runs on [cpu]")
            progress.update("encoding", 60, 100, loss=0.5)
            progress.update("encoding", 5, 100)
        terminal.flush()
        shown = os.read(reader, 100_000).decode()
    os.close(reader)
    assert shown.index("starting") < shown.index("encoding")
    assert "/100" in shown
    assert "runs on [cpu]" in shown


@pytest.mark.parametrize(("seconds", "shown"), [(1, "1 s"), (59.6, "1 min 00 s"), (3725, "1 h 02 min")])
def test_line_watch__time_left_in_words(seconds, shown):
    stream, clock = io.StringIO(), Clock()
    with LineWatch(stream, interval=1.0, clock=clock) as progress:
        progress.update("fitting", 0, 2)
        clock.now += seconds
        progress.update("fitting", 1, 2)
    assert stream.getvalue().endswith(f", {shown} left\n")
