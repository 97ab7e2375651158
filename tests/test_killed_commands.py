"""Each command killed before every single change it makes to files; then the same command again goes on and cleans up.

`tests/cache/encoding/test_resume.py` does the same to cache-features.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_cache.verify import verify
from ulfine_exports.export import export_onnx
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="SIGKILL and fork are POSIX")

# Imports once and forks for every line on stdin. A line holds the function, its arguments, and before which change
# SIGKILL comes (0: never).
DRIVER = """
import importlib, json, os, pkgutil, signal, sys
from pathlib import Path
import faiss, onnx.checker, onnx.helper, onnx.shape_inference, onnxruntime, safetensors.torch, tensorboardX, torch
import ulfine_cache.atomic, ulfine_exports, ulfine_fast
from ulfine_cache.errors import UlfineError

for room in (ulfine_cache, ulfine_fast, ulfine_exports):
    for found in pkgutil.walk_packages(room.__path__, room.__name__ + "."):
        if not any(word in found.name for word in ("serve", "tiny", "lite0", "encoders")):
            importlib.import_module(found.name)

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate"}

def kill_before(number):
    left = [number]
    def audit(event, arguments):
        if event == "open":
            counts = bool(arguments[2] & (os.O_CREAT | os.O_TRUNC))
        else:
            counts = event in CHANGES or (event == "ctypes.dlsym" and arguments[1] == "renameat2")
        left[0] -= counts
        if counts and left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(audit)

torch.set_num_threads(1)
# A killed process is no power failure: what it wrote is there.
os.fsync = lambda handle: None
for line in sys.stdin:
    request = json.loads(line)
    module, name = request["call"].split(":")
    arguments = {key: Path(value[5:]) if str(value).startswith("path:") else value
                 for key, value in request["arguments"].items()}
    if "inputs" in arguments:
        arguments["inputs"] = [arguments["inputs"]]
    child = os.fork()
    if child == 0:
        if not request["swap"]:
            ulfine_cache.atomic._swap = lambda one, other: False
        if request["kill"]:
            kill_before(request["kill"])
        try:
            getattr(importlib.import_module(module), name)(**arguments)
        except UlfineError as error:
            sys.stderr.write(f"{error}\\n")
            os._exit(1)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""

Command = Callable[..., int]


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    """Runs a command in a process that can be killed, and gives what `os.waitpid` says."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert driver.stdin is not None
    assert driver.stdout is not None
    write, read = driver.stdin, driver.stdout

    def run(call: str, arguments: dict[str, Any], kill: int = 0, *, swap: bool = True) -> int:
        told = {key: f"path:{value}" if isinstance(value, Path) else value for key, value in arguments.items()}
        write.write(json.dumps({"call": call, "arguments": told, "kill": kill, "swap": swap}) + "\n")
        write.flush()
        return int(read.readline())

    yield run
    driver.communicate()


@pytest.fixture(scope="module")
def start(feature_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with a split, a run, and the file that the cache was made of."""
    folder = tmp_path_factory.mktemp("start")
    file = Path(shutil.copy(feature_file, folder / "trees.npz"))
    import_features(file=file, out=folder / "cache", index="Flat")
    make_split(cache=folder / "cache", name="lt", labelled_max=10, imbalance=5)
    fit(cache=folder / "cache", out=folder / "run", split="lt", method="zero-shot")
    return folder


def damage(path: Path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def names(folder: Path) -> list[str]:
    """All files and folders, without what TensorBoard calls after the time."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return sorted(name for name in found if "tfevents" not in name and not name.endswith(".lock"))


def kill_everywhere(
    command: Command,
    start: Path,
    place: Path,
    call: str,
    arguments: dict[str, Any],
    *,
    before: Callable[[Path], None] = lambda _: None,
    at_once: Callable[[Path], None] = lambda _: None,
    complete: tuple[int, ...] = (0,),
    swap: bool = True,
) -> int:
    """Kill a command before its first change, its second and so on; after each kill give it again.

    Args:
        command: The fixture.
        start: What is there before.
        place: An empty folder, for copies of that.
        call: The function.
        arguments: Its arguments; paths are relative to the copy.
        before: Changes the copy first.
        at_once: Called between the kill and the second call.
        complete: Exit codes of a second call that may find all done.
        swap: Whether the file system can exchange two names.

    Returns:
        How many changes there are.
    """

    def fresh(name: str) -> tuple[Path, dict[str, Any]]:
        copy = Path(shutil.copytree(start, place / name))
        before(copy)
        return copy, {key: copy / value if isinstance(value, Path) else value for key, value in arguments.items()}

    last: Any = None
    whole, told = fresh("whole")
    assert command(call, told, swap=swap) == 0
    for number in range(1, 200):
        copy, told = fresh("killed")
        status = command(call, told, number, swap=swap)
        if status == 0:
            shutil.rmtree(copy)
            return number - 1
        assert status == signal.SIGKILL
        at_once(copy)
        left = {path.relative_to(copy): path.read_bytes() for path in copy.rglob("*") if path.is_file()}, names(copy)
        if left != last:
            assert os.waitstatus_to_exitcode(command(call, told, swap=swap)) in complete, number
            assert names(copy) == names(whole), number
            check_same(copy, whole, number)
            last = left
        shutil.rmtree(copy)
    raise AssertionError("it never ended")


def check_same(copy: Path, whole: Path, number: int):
    for path in copy.rglob("*"):
        if path.suffix in (".csv", ".onnx", ".safetensors", ".txt", ".npy") or path.parent.name in ("shards", "splits"):
            assert path.read_bytes() == (whole / path.relative_to(copy)).read_bytes(), (number, path)


def test_export(command, start, tmp_path):
    arguments = {"run": Path("run"), "onnx": Path("m.onnx"), "triton": Path("models"), "to_hub": Path("hub")}
    assert kill_everywhere(command, start, tmp_path, "ulfine_exports.export:export_onnx", arguments) > 25


def test_export__over_an_earlier_one(command, start, tmp_path):
    def before(copy: Path):
        export_onnx(run=copy / "run", triton=copy / "models", to_hub=copy / "hub", opset=18)

    arguments = {"run": Path("run"), "triton": Path("models"), "to_hub": Path("hub")}
    call = "ulfine_exports.export:export_onnx"
    assert kill_everywhere(command, start, tmp_path, call, arguments, before=before) > 20


def test_fit(command, start, tmp_path):
    arguments = {"cache": Path("cache"), "out": Path("runs/new"), "split": "lt", "method": "zero-shot"}
    call = "ulfine_fast.fitting:fit"
    # A run that stands there is complete, and is not replaced without being told.
    assert kill_everywhere(command, start, tmp_path, call, arguments, complete=(0, 1)) > 10


@pytest.mark.parametrize("swap", [True, False])
def test_fit__overwriting(command, start, tmp_path, swap):
    former = (start / "run" / "provenance.json").read_bytes()

    def at_once(copy: Path):
        if swap:
            assert load_run(copy / "run").method in ("zero-shot", "gda")

    arguments = {"cache": Path("cache"), "out": Path("run"), "split": "lt", "method": "gda", "overwrite": True}
    call = "ulfine_fast.fitting:fit"
    changes = kill_everywhere(command, start, tmp_path, call, arguments, at_once=at_once, swap=swap)
    assert changes > 12
    assert (tmp_path / "whole" / "run" / "provenance.json").read_bytes() != former


def test_fit__killed_between_two_renames_and_then_without_overwriting(command, start, tmp_path):
    """Where names cannot be exchanged: the former run comes back by itself."""
    copy = Path(shutil.copytree(start, tmp_path / "copy"))
    arguments = {"cache": copy / "cache", "out": copy / "run", "split": "lt", "method": "gda"}
    number = 1
    while (copy / "run").exists():
        assert command("ulfine_fast.fitting:fit", arguments | {"overwrite": True}, number, swap=False) == signal.SIGKILL
        number += 1
    assert os.waitstatus_to_exitcode(command("ulfine_fast.fitting:fit", arguments, swap=False)) == 1
    assert load_run(copy / "run").method == "zero-shot"
    assert names(copy) == names(start)


def test_predict(command, start, tmp_path):
    arguments = {"model": Path("run"), "inputs": Path("cache"), "out": Path("predictions.csv")}
    assert kill_everywhere(command, start, tmp_path, "ulfine_exports.predict:predict", arguments) >= 3


def test_split(command, start, tmp_path):
    arguments = {"cache": Path("cache"), "name": "new", "labelled_max": 5, "imbalance": 2.0}
    assert kill_everywhere(command, start, tmp_path, "ulfine_cache.splits:make_split", arguments) >= 6


def test_convert(command, start, tmp_path):
    arguments = {"cache": Path("cache"), "to": "npy", "out": Path("converted")}
    assert kill_everywhere(command, start, tmp_path, "ulfine_cache.convert:convert", arguments) > 8


def test_import_features(command, start, tmp_path):
    arguments = {"file": Path("trees.npz"), "out": Path("other"), "index": "Flat"}
    assert kill_everywhere(command, start, tmp_path, "ulfine_cache.import_features:import_features", arguments) > 15


def test_verify__repairing(command, start, tmp_path):
    """A shard, skipped.csv, the index and a digest."""

    def before(copy: Path):
        for name in ("shards/00000.h5", "skipped.csv", "image.faiss"):
            damage(copy / "cache" / name)
        # As the shards know it.
        request = json.dumps({"file": str(copy / "trees.npz")})
        from ulfine_cache.store.datasets import replacing_file

        with replacing_file(copy / "cache" / "cache.h5", start=copy / "cache" / "cache.h5", digest=True) as file:
            file.attrs["call"] = request
            # What FAISS would not write again, byte for byte.
            file.attrs["index_sha256"] = "0" * 64

    arguments = {"cache": Path("cache"), "repair": True}
    call = "ulfine_cache.verify:verify"
    assert kill_everywhere(command, start, tmp_path, call, arguments, before=before) > 30
    assert verify(cache=tmp_path / "whole" / "cache")["damaged"] == []


def test_saving_an_estimator(start, tmp_path):
    """It writes its run as `fit` does: what a killed one left is taken over."""
    from ulfine_fast.estimator import ULFineClassifier

    estimator = ULFineClassifier(method="gda").fit(np.eye(6)[:, :4] + 0.1, [0, 1, 0, 1, 0, 1])
    (tmp_path / ".run.partial").mkdir()
    (tmp_path / ".run.partial" / "model.safetensors").write_bytes(b"half")
    estimator.save(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
