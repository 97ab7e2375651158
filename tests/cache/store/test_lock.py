"""One writer per cache: a second is told at once, a dead one is forgotten. Readers need no lock."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack

import h5py
import numpy as np
import pytest

from ulfine_cache.convert import convert
from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.neighbours import neighbours
from ulfine_cache.repairing.integrity import read_attributes
from ulfine_cache.splits import make_split
from ulfine_cache.store.datasets import read_array
from ulfine_cache.store.lock import writing
from ulfine_cache.verify import verify

HOLD = """
import sys, time
from pathlib import Path
from ulfine_cache.store.datasets import read_array
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


@posix
def test_reading__needs_no_lock(feature_file, tmp_path):
    """Where a file system has no locks, asking for one fails as it does on a file that another holds."""
    import fcntl

    cache, out = tmp_path / "cache", tmp_path / "arrays"
    import_features(file=feature_file, out=cache)
    make_split(cache=cache, name="few", labelled_max=8, imbalance=4.0)
    files = sorted(cache.rglob("*.h5"))
    assert [path.name for path in files] == ["cache.h5", "00000.h5", "few.h5"]
    with ExitStack() as held:
        for path in files:
            fcntl.flock(held.enter_context(path.open("rb+")), fcntl.LOCK_EX)
            with pytest.raises(OSError, match="unable to lock file"):
                h5py.File(path, "r")
        opened = FeatureCache.open(cache)
        assert opened.features().shape == (200, 16)
        assert opened.read_split("few").labelled.size
        assert verify(cache=cache)["damaged"] == []
        assert neighbours(cache=cache, queries=[opened.paths[0]])["queries"][0]["neighbours"]
        convert(cache=cache, to="npy", out=out)
        # A shard that is lost is made again from one file of the cache: that one is read, too.
        shutil.copyfile(cache / "shards" / "00000.h5", tmp_path / "shard.h5")
    (cache / "shards" / "00000.h5").unlink()
    with (cache / "cache.h5").open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        verify(cache=cache, repair=True)
    assert (cache / "shards" / "00000.h5").read_bytes() == (tmp_path / "shard.h5").read_bytes()


def test_reading__beside_one_who_has_the_file_open(feature_file, tmp_path):
    import_features(file=feature_file, out=tmp_path / "cache")
    with h5py.File(tmp_path / "cache" / "cache.h5") as theirs, h5py.File(tmp_path / "cache" / "shards" / "00000.h5"):
        np.testing.assert_array_equal(FeatureCache.open(tmp_path / "cache").labels, read_array(theirs, "label"))


@posix
def test_reading__what_the_system_refuses_is_not_called_damaged(feature_file, tmp_path):
    import resource

    import_features(file=feature_file, out=tmp_path / "cache")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        most = opened.enter_context((tmp_path / "last").open("w")).fileno() + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))
        try:
            errors = []
            for read in (lambda: FeatureCache.open(tmp_path / "cache"), lambda: read_attributes(tmp_path / "cache")):
                with pytest.raises(UlfineError) as caught:
                    read()
                errors.append(str(caught.value))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    line = f"cannot read {tmp_path / 'cache' / 'cache.h5'}: too many open files; raise the limit with `ulimit -n`"
    assert errors == [line, line]
