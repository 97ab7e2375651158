"""Pipes, sockets and folders in the place of files inside a cache or a run: one line, and nobody waits for them."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_fast.fitting import fit

pytestmark = pytest.mark.skipif(os.name == "nt", reason="named pipes are POSIX")

SECONDS = 120
"""Whoever waits for a pipe waits for ever."""


@pytest.fixture(scope="module")
def made(tmp_path_factory, feature_file):
    folder = tmp_path_factory.mktemp("made")
    import_features(file=feature_file, out=folder / "cache", index="none")
    make_split(cache=folder / "cache", name="lt", labelled_max=9, imbalance=2)
    fit(cache=folder / "cache", out=folder / "run", method="lp", split="lt")
    return folder


def replace(path, kind):
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        # The address of a socket must be short.
        with socket.socket(socket.AF_UNIX) as bound:
            before = os.open(".", os.O_RDONLY)
            os.chdir(path.parent)
            try:
                bound.bind(path.name)
            finally:
                os.fchdir(before)
                os.close(before)


def last_line(folder, *arguments):
    command = [sys.executable, "-m", "ulfine_cli.main", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode in (0, 1), done.stderr
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, (done.stdout + done.stderr).splitlines()[-1]


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
@pytest.mark.parametrize("file", ["config.yaml", "model.safetensors", "metrics.json", "provenance.json"])
def test_run(made, tmp_path, ulfine_here, file, kind):
    shutil.copytree(made / "run", tmp_path / "run")
    replace(tmp_path / "run" / file, kind)
    assert str(tmp_path / "run") in ulfine_here("evaluate", tmp_path / "run").failed(1)


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
@pytest.mark.parametrize("file", ["cache.h5", "shards/00000.h5"])
def test_cache(made, tmp_path, ulfine_here, file, kind):
    shutil.copytree(made / "cache", tmp_path / "cache")
    replace(tmp_path / "cache" / file, kind)
    assert str(tmp_path / "cache") in ulfine_here("fit", tmp_path / "cache", "--out", tmp_path / "new").failed(1)


@pytest.mark.parametrize("command", ["info", "verify", "fit"])
@pytest.mark.parametrize(
    "file", ["cache.h5", "cache.h5.sha256", "shards/00000.h5", "shards/00000.h5.sha256", "splits/lt.h5", "skipped.csv"]
)
def test_pipe_in_a_cache__is_not_waited_for(made, tmp_path, file, command):
    shutil.copytree(made / "cache", tmp_path / "cache")
    if not (tmp_path / "cache" / file).exists():
        pytest.skip(f"no {file} in this cache")
    replace(tmp_path / "cache" / file, "pipe")
    more = ("--split", "lt", "--out", "new") if command == "fit" else ()
    exit_code, line = last_line(tmp_path, command, "cache", *more)
    if command == "verify":
        assert (exit_code, line[:7]) == (1, "error: ")
