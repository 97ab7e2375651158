"""Two fits of one run directory, one that is stopped for a while, and one that is killed while it streams."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")

# Begins a fit, says so when it is in the middle, and goes on when it is told.
FIT = """
import sys
from pathlib import Path
from ulfine_fast.fitting import fit

class Waits:
    def update(self, stage, done, total, **figures):
        pass
    def note(self, message):
        if message.startswith("fitting"):
            print("fitting", flush=True)
            sys.stdin.readline()

cache, out, overwrite = sys.argv[1:]
fit(cache=Path(cache), out=Path(out), split="lt", method="zero-shot", overwrite=overwrite == "yes", progress=Waits())
"""

STREAMING = """
import os, signal, sys
from pathlib import Path
from ulfine_cache.feature_cache import FeatureCache
from ulfine_fast.fitting import fit
from ulfine_fast.rows.memory_bound import MemoryBound, resident_bytes
from ulfine_fast.streaming_choice import must_stream

class Dies:
    streams = False
    def update(self, stage, done, total, **figures):
        if self.streams:
            os.kill(os.getpid(), signal.SIGKILL)
    def note(self, message):
        self.streams = self.streams or "stay on the disk" in message

cache, out = map(Path, sys.argv[1:])
opened, bound = FeatureCache.open(cache), resident_bytes() + 10**9
while not must_stream(opened, opened.read_split(None), "cpu", MemoryBound(bound)):
    bound -= 10**6
fit(cache=cache, out=out, memory=str(bound - 7 * 10**6), progress=Dies())
"""


def started(code: str, *arguments: object) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextlib.contextmanager
def fitting(cache: Path, out: Path, *, overwrite: bool = False):
    """A process in the middle of a fit."""
    process = started(FIT, cache, out, "yes" if overwrite else "no")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "fitting\n"
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.communicate()


@pytest.mark.parametrize("stop", [False, True])
def test_fit__a_second_one_is_told_at_once(text_cache, tmp_path, stop):
    out = tmp_path / "runs" / "new"
    with fitting(text_cache, out) as process:
        if stop:
            process.send_signal(signal.SIGSTOP)
        with pytest.raises(UlfineError, match=r"another process is writing .*new: wait until it has finished"):
            fit(cache=text_cache, out=out, split="lt", method="gda")
        process.send_signal(signal.SIGCONT)
        process.communicate("\n")
        assert process.returncode == 0
    assert load_run(out).method == "zero-shot"
    assert [path.name for path in out.parent.iterdir()] == ["new"]


def test_fit__overwriting_a_run_that_is_used_meanwhile(text_cache, tmp_path):
    out = tmp_path / "run"
    fit(cache=text_cache, out=out, split="lt", method="gda")
    with fitting(text_cache, out, overwrite=True) as process:
        assert load_run(out).method == "gda"
        with pytest.raises(UlfineError, match="another process is writing"):
            fit(cache=text_cache, out=out, split="lt", method="gda", overwrite=True)
        process.communicate("\n")
        assert process.returncode == 0
    assert load_run(out).method == "zero-shot"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_fit__of_a_killed_one(text_cache, tmp_path):
    out = tmp_path / "run"
    with fitting(text_cache, out) as process:
        process.kill()
        process.wait()
        assert [path.name for path in tmp_path.iterdir()] == [".run.partial"]
        fit(cache=text_cache, out=out, split="lt", method="gda")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_fit__killed_while_it_streams(many, tmp_path):
    process = started(STREAMING, many, tmp_path / "run")
    _, err = process.communicate()
    assert process.returncode == -signal.SIGKILL, err
    assert [path.name for path in tmp_path.iterdir()] == [".run.partial"]
    fit(cache=many, out=tmp_path / "run")
    fit(cache=many, out=tmp_path / "other")
    for name in ("model.safetensors", "history.csv", "predictions.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run"]
