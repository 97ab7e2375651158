"""What a session really runs on is compared with what was asked for."""

import ast
import sys
from pathlib import Path

import onnxruntime
import pytest

import ulfine_cache
import ulfine_exports
import ulfine_fast
from tests.exports.gate.test_parity import WEIGHTS, softmax_model
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_exports.inference import providers
from ulfine_exports.inference.providers import open_session, usable_cpus

MODEL = softmax_model(WEIGHTS)


def test_open_session__cpu():
    opened = open_session(MODEL, "cpu")
    assert (opened.device, opened.providers) == ("cpu", ("CPUExecutionProvider",))


def test_open_session__threads_are_the_cpus_of_this_process():
    options = open_session(MODEL, "cpu").session.get_session_options()
    assert options.intra_op_num_threads == usable_cpus() >= 1
    assert options.inter_op_num_threads == 1


def test_open_session__threads_and_spinning_as_asked():
    options = open_session(MODEL, "cpu", threads=3, spinning=False).session.get_session_options()
    assert options.intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_open_session__unknown_device():
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        open_session(MODEL, "tpu")


def test_open_session__cuda_that_silently_runs_on_the_cpu(monkeypatch, capfd):
    """As onnxruntime-gpu does where the driver is there and cuDNN is not: available, asked for, not used."""
    monkeypatch.setattr(providers, "_cuda_obstacle", lambda: "")
    create = providers._create
    monkeypatch.setattr(providers, "_create", lambda model, _, *rest: create(model, [providers._CPU], *rest))
    with pytest.raises(UlfineError, match="cannot use CUDA"):
        open_session(MODEL, "cuda")
    opened = open_session(MODEL, "auto")
    assert opened.device == "cpu"
    assert "libraries do not load" in opened.reason


@pytest.mark.skipif(sys.platform != "linux", reason="the driver has another name elsewhere")
def test_open_session__no_driver_is_silent(monkeypatch, capfd):
    def no_driver(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(providers.ctypes, "CDLL", no_driver)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [providers._CUDA, providers._CPU])
    opened = open_session(MODEL, "auto")
    assert opened.device == "cpu"
    assert opened.reason == "no CUDA: no NVIDIA driver"
    with pytest.raises(UlfineError, match="no NVIDIA driver; use --device cpu or auto"):
        open_session(MODEL, "cuda")
    assert capfd.readouterr() == ("", "")


def test_open_session__built_without_cuda(monkeypatch):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [providers._CPU])
    with pytest.raises(UlfineError, match="built without it"):
        open_session(MODEL, "cuda")


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [
        ("150000 100000", 2),
        ("100000 100000", 1),
        ("1000 100000", 1),
        ("max 100000", 8),
        ("junk", 8),
        ("9900000 100000", 8),
    ],
)
def test_usable_cpus__share_of_a_container(monkeypatch, tmp_path, quota, cpus):
    """What `docker run --cpus` writes, on a machine with eight."""
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(providers, "_CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(providers.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert usable_cpus() == cpus
    monkeypatch.setattr(providers, "_CPU_QUOTA", tmp_path / "missing")
    assert usable_cpus() == 8


def test_onnxruntime__is_imported_in_one_place():
    """Elsewhere its telemetry would be on; `quantise.py` calls that place first, and its tests would fail without."""
    importing = set()
    for room in (ulfine_cache, ulfine_exports, ulfine_fast):
        for path in Path(room.__file__ or "").parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                if any(name.partition(".")[0] == "onnxruntime" for name in names):
                    importing.add(path.name)
    # providers.py imports a class for the type checker alone.
    assert importing == {"runtime.py", "quantise.py", "providers.py"}
