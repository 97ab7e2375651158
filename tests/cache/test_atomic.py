"""Files that several processes write at once, and what killed or stopped ones leave."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ulfine_cache import atomic
from ulfine_cache.atomic import new_directory, remove_partial_files, replacing
from ulfine_cache.errors import UlfineError

fcntl = pytest.importorskip("fcntl")

# Begins to write a file or a folder, says so, and goes on when it is told.
HOLDER = """
import sys
from pathlib import Path
from ulfine_cache.atomic import new_directory, replacing

path = Path(sys.argv[2])
with {"file": replacing, "folder": new_directory}[sys.argv[1]](path) as partial:
    (partial if sys.argv[1] == "file" else partial / "x").write_text("of the other process")
    print("writing", flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def holder(kind: str, path: Path):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, kind, str(path)],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.communicate()


def test_replacing__a_second_writer_waits_for_the_first(tmp_path):
    path, order = tmp_path / "a.csv", []

    def second():
        with replacing(path) as partial:
            order.append("second")
            partial.write_text("second")

    thread = threading.Thread(target=second)
    with replacing(path) as partial:
        thread.start()
        partial.write_text("fir")
        time.sleep(0.1)
        order.append("first")
        partial.write_text("first")
    thread.join()
    assert order == ["first", "second"]
    assert path.read_text() == "second"
    assert [found.name for found in tmp_path.iterdir()] == ["a.csv"]


def test_replacing__a_storm_of_writers_leaves_a_whole_file(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom ulfine_cache.atomic import replacing\n"
        "for number in range(40):\n"
        "    with replacing(Path(sys.argv[1]), durable=False) as partial:\n"
        "        partial.write_text(sys.argv[2] * 5000)\n"
        "    text = Path(sys.argv[1]).read_text()\n"
        "    assert len(text) == 5000 and len(set(text)) == 1, text[:9]\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    writers = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "a.json", letter], env=environment)
        for letter in "abcd"
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0, 0]
    assert [found.name for found in tmp_path.iterdir()] == ["a.json"]


def test_replacing__of_a_killed_writer(tmp_path):
    path = tmp_path / "a.csv"
    with holder("file", path) as process:
        process.kill()
        process.wait()
        assert (tmp_path / "a.csv.partial").read_text() == "of the other process"
        with replacing(path) as partial:
            assert partial.read_text() == ""
            partial.write_text("new")
    assert [found.name for found in tmp_path.iterdir()] == ["a.csv"]
    assert path.read_text() == "new"


def test_replacing__while_a_stopped_process_holds_it(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    monkeypatch.setattr(atomic, "PATIENCE", 0.2)
    with holder("file", path) as process:
        process.send_signal(signal.SIGSTOP)
        message = r"another process is writing .*a\.csv: wait until it has finished, or choose another place"
        with pytest.raises(UlfineError, match=message), replacing(path):
            pass
        assert remove_partial_files(tmp_path) == 0
        process.send_signal(signal.SIGCONT)
        process.communicate("\n")
        assert process.returncode == 0
    assert path.read_text() == "of the other process"


def test_new_directory__a_second_writer_is_told_at_once(tmp_path):
    with holder("folder", tmp_path / "out") as process:
        with pytest.raises(UlfineError, match="another process is writing"), new_directory(tmp_path / "out"):
            pass
        process.communicate("\n")
        assert process.returncode == 0
    assert (tmp_path / "out" / "x").read_text() == "of the other process"
    assert [found.name for found in tmp_path.iterdir()] == ["out"]


def test_new_directory__made_by_somebody_in_the_meantime(tmp_path):
    with pytest.raises(UlfineError, match="made by another process"), new_directory(tmp_path / "out") as folder:
        (folder / "mine").touch()
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").touch()
    assert [found.name for found in (tmp_path / "out").iterdir()] == ["theirs"]
    assert [found.name for found in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("swap", [True, False])
def test_new_directory__replaces_what_is_there(tmp_path, monkeypatch, swap):
    if not swap:
        monkeypatch.setattr(atomic, "_swap", lambda one, other: False)
    for text in ("one", "two"):
        with new_directory(tmp_path / "out", hidden=True, replace=True) as folder:
            assert folder.name == ".out.partial"
            (folder / text).touch()
    assert [found.name for found in (tmp_path / "out").iterdir()] == ["two"]
    assert [found.name for found in tmp_path.iterdir()] == ["out"]


def test_new_directory__through_a_link(tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "one").touch()
    (tmp_path / "out").symlink_to("first")
    with new_directory(tmp_path / "out", replace=True) as folder:
        (folder / "two").touch()
    assert (tmp_path / "out" / "two").exists()
    assert (tmp_path / "first" / "one").exists()
    assert sorted(found.name for found in tmp_path.iterdir()) == ["first", "out"]


def test_without_locks__each_process_has_its_own_name(tmp_path, monkeypatch):
    def refuse(handle, how):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with replacing(tmp_path / "a.csv") as partial:
        assert partial.name == f"a.csv.{os.getpid()}.partial"
        partial.write_text("new")
    with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "out") as folder:
        assert folder.name == f"out.{os.getpid()}.partial"
        raise ZeroDivisionError
    assert [found.name for found in tmp_path.iterdir()] == ["a.csv"]


def test_replacing__does_not_write_through_a_link(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "a.csv.partial").symlink_to("precious")
    with pytest.raises(UlfineError, match="cannot write"), replacing(tmp_path / "a.csv"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_remove_partial_files__of_nobody(tmp_path):
    (tmp_path / "a.partial").touch()
    with holder("file", tmp_path / "b") as process:
        assert remove_partial_files(tmp_path) == 1
        process.communicate("\n")
    assert [found.name for found in tmp_path.iterdir()] == ["b"]
