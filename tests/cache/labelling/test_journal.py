"""The growing file of decisions: on the disk at once, repaired after a kill, one process at a time."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.labelling.decisions import read_decisions
from ulfine_cache.labelling.journal import Journal

HEADER = "path,label,former,time\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "labels.csv"


def lines(path):
    return [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()]


def test_append_and_undo(path):
    with Journal(path) as journal:
        journal.append([("a.jpg", "cat", "")])
        journal.append([("b.jpg", "dog", "cat"), ("=c.jpg", "dog", "")])
        assert [each.path for each in journal.undo()] == ["b.jpg", "=c.jpg"]
        journal.append([("d.jpg", "dog", "")])
        assert [each.label for each in journal.undo() + journal.undo()] == ["", ""]
        assert journal.undo() == []
    assert lines(path) == [
        "path,label,former",
        "a.jpg,cat,",
        "b.jpg,dog,cat",
        "'=c.jpg,dog,",
        "b.jpg,cat,dog",
        "'=c.jpg,,dog",
        "d.jpg,dog,",
        "d.jpg,,dog",
        "a.jpg,,cat",
    ]


def test_undo__goes_on_after_a_restart(path):
    with Journal(path) as journal:
        journal.append([("a.jpg", "cat", "")])
        journal.append([("b.jpg", "dog", ""), ("c.jpg", "dog", "")])
        journal.append([("d.jpg", "dog", "")])
        journal.undo()
    with Journal(path) as journal:
        assert [each.path for each in journal.undo()] == ["b.jpg", "c.jpg"]
        assert [each.path for each in journal.undo()] == ["a.jpg"]
        assert journal.undo() == []


def test_times_rise(path):
    with Journal(path) as journal:
        times = [journal.append([(str(number), "x", "")])[0].time for number in range(50)]
    assert times == sorted(set(times))


@pytest.mark.parametrize("left", ["b.jp", '"b,', "b.jpg,dog,,2026-01-01T00:00:00.000000+00:00", "b.jpg,d"])
def test_last_line_cut_off(path, recorder, left):
    path.parent.mkdir()
    path.write_text(f"{HEADER}a.jpg,cat,,2026-01-01T00:00:00.000000+00:00\n{left}")
    with Journal(path, recorder) as journal:
        assert [each.path for each in journal.decisions] == ["a.jpg"]
        journal.append([("c.jpg", "dog", "")])
    assert len(recorder.notes) == 1
    assert read_decisions(path).labels == {"a.jpg": "cat", "c.jpg": "dog"}


def test_header_cut_off(path):
    path.parent.mkdir()
    path.write_text("path,la")
    Journal(path).close()
    assert path.read_text() == HEADER


def test_somebody_elses_file(path):
    path.parent.mkdir()
    for text in ("path,label\na.jpg,cat\n", "path,label\na.jpg,cat"):
        path.write_text(text)
        with pytest.raises(UlfineError, match="has the columns path, label and not path,label,former,time: choose"):
            Journal(path)
        assert path.read_text() == text


def test_second_process(path):
    with Journal(path), pytest.raises(UlfineError, match="another process is labelling into"):
        Journal(path)
    Journal(path).close()


def test_full_disk(path):
    """Nothing of a decision that did not fit is in the file."""
    resource = pytest.importorskip("resource")
    with Journal(path) as journal:
        journal.append([("a.jpg", "cat", "")])
        size, former = path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, former[1]))
            with pytest.raises(UlfineError, match=r"cannot write .*: only 10 bytes fit"):
                journal.append([("b.jpg", "cat", "")])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, former)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.stat().st_size == size
        assert len(journal.decisions) == 1
        journal.append([("c.jpg", "cat", "")])
    assert list(read_decisions(path).labels) == ["a.jpg", "c.jpg"]


ENDLESS = """
import sys
from pathlib import Path
from ulfine_cache.labelling.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(10**9):
    journal.append([(f"{number}-{row}.jpg", "cat", "") for row in range(5)])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_killed(path):
    """Whatever was said to be written is in the file, and the next process goes on."""
    for _ in range(3):
        command = [sys.executable, "-c", ENDLESS, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = [process.stdout.readline()]
            time.sleep(0.05)
            os.kill(process.pid, signal.SIGKILL)
            said += process.stdout.readlines()
        last = int([line for line in said if line.endswith("\n")][-1])
        with Journal(path) as journal:
            paths = [each.path for each in journal.decisions]
            assert f"{last}-4.jpg" in paths
        path.unlink()
