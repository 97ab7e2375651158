"""One writer per cache: a second is told at once, a dead one is forgotten, without locks there is a clear line."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.import_features import import_features
from ulfine_cache.store.lock import writing

HOLD = """
import sys, time
from pathlib import Path
from ulfine_cache.store.lock import writing

with writing(Path(sys.argv[1])):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    time.sleep(60)
"""
posix = pytest.mark.skipif(os.name == "nt", reason="flock and SIGKILL are POSIX")


@pytest.fixture
def holder(tmp_path):
    """Another process that writes to tmp_path / "cache"."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", HOLD, str(tmp_path / "cache")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@posix
def test_writing__second_process_is_refused_and_a_dead_one_forgotten(holder, feature_file, tmp_path):
    cache = tmp_path / "cache"
    line = rf"^another process is writing to {cache}: wait until it has finished, or choose another --out$"
    with pytest.raises(UlfineError, match=line):
        import_features(file=feature_file, out=cache)
    assert [path.name for path in cache.iterdir()] == [".lock"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (cache / ".lock").exists()
    assert import_features(file=feature_file, out=cache)["rows"] == 200


@posix
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_writing__file_system_without_locks(tmp_path, monkeypatch, number):
    import fcntl

    def refuse(handle, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for _ in range(2):
        line = r"^the file system of .*cache has no file locks \(flock\).*: choose an --out on a local disk"
        with pytest.raises(UlfineError, match=line), writing(tmp_path / "cache"):
            pass


def test_writing__gives_the_lock_back_after_an_error(tmp_path):
    with pytest.raises(ValueError, match="inside"), writing(tmp_path / "cache"):
        raise ValueError("inside")
    with writing(tmp_path / "cache"):
        pass


def test_writing__directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "cache"):
        line = r"^cannot create the directory .*: (file exists|not a directory); choose another place$"
        with pytest.raises(UlfineError, match=line), writing(out):
            pass
    assert (tmp_path / "file").read_bytes() == b""
