"""Parts of predictions made by Ray workers: the same bytes as here, whoever is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.cache.conftest import write_picture
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.sources.open_unlabelled import open_unlabelled
from ulfine_cache.sources.source import blocks_of, listing_digest
from ulfine_cache.sources.source_options import SourceOptions
from ulfine_cache.store.digest_file import file_sha256
from ulfine_cache.store.layout import WORKERS
from ulfine_exports.predict import predict
from ulfine_exports.predicting.part_request import PartRequest
from ulfine_exports.predicting.part_worker import PartWorker, part_versions
from ulfine_exports.predicting.predictors import open_predictor

pytest.importorskip("ray")
SOON = 120
SIZES = {"part_size": 3, "batch_size": 2}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """151 images, of which one is broken."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(150):
        write_picture(folder / f"camera {number % 2}" / f"{number:03d}.png", number)
    (folder / "camera 1" / "broken.png").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def whole(pixel_onnx, many, tmp_path_factory):
    """What this process makes of them: the folder, and the figures."""
    out = tmp_path_factory.mktemp("whole") / "parts"
    return out, predict(model=pixel_onnx, inputs=[many], out=out, **SIZES).figures()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def started(model, source, out, *options):
    path = os.pathsep.join(path for path in sys.path if path)
    sizes = [text for name, value in SIZES.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    call = [sys.executable, "-m", "ulfine_cli.main", "predict", model, source, "--out", out, *sizes, *options]
    return subprocess.Popen(call, env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)


def finished(out):
    return len(list(out.glob("part-*.parquet")))


def wait_for(condition, process):
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)


def workers_of(process):
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            found += [child] if "PartWorker" in " ".join(child.cmdline()) else []
        except psutil.Error:
            continue
    return found


@pytest.mark.cluster
def test_ray__makes_the_same_parts_and_does_nothing_when_all_are_there(
    pixel_onnx, many, whole, tmp_path, one_at_a_time, monkeypatch
):
    out = tmp_path / "parts"
    run = started(pixel_onnx, many, out, "--engine", "ray", "--cpus-per-worker", "1", "--json", tmp_path / "f.json")
    _, told = run.communicate(timeout=SOON)
    assert run.returncode == 0, told
    assert contents(out) == contents(whole[0])
    figures = json.loads((tmp_path / "f.json").read_text())
    apart = {"out", "seconds", "images_per_second"}
    assert {name: value for name, value in figures.items() if name not in apart} == {
        name: value for name, value in whole[1].items() if name not in apart
    }
    assert any("up to" in line and "of 1 core" in line for line in told.splitlines())
    assert any(line.endswith("in workers") for line in told.splitlines())

    # Nothing is missing, so nothing is started: not even an address is looked at.
    before = contents(out)
    again = predict(model=pixel_onnx, inputs=[many], out=out, engine="ray", address="127.0.0.1:1", **SIZES)
    assert again.figures()["parts_kept"] == 51
    assert contents(out) == before
    (out / "part-00007.parquet").unlink()
    with pytest.raises(UlfineError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 \(connection"):
        predict(model=pixel_onnx, inputs=[many], out=out, engine="ray", address="127.0.0.1:1", **SIZES)
    assert (out / "skipped.csv").is_file()


@pytest.mark.cluster
def test_ray__workers_and_driver_are_killed(pixel_onnx, many, whole, tmp_path, one_at_a_time):
    out = tmp_path / "parts"
    run = started(pixel_onnx, many, out, "--engine", "ray", "--cpus-per-worker", "1")
    wait_for(lambda: finished(out) >= 5, run)
    killed = workers_of(run)
    assert killed
    for worker in killed:
        worker.kill()
    between = finished(out)
    wait_for(lambda: finished(out) >= between + 5, run)
    assert finished(out) < 51
    run.kill()
    _, told = run.communicate(timeout=SOON)
    assert "a worker has ended before its part was done, which another one makes" in told
    # What is left of that call may end its part yet; the next one goes on, here.
    assert not (out / "skipped.csv").exists()
    run = started(pixel_onnx, many, out)
    _, told = run.communicate(timeout=SOON)
    assert run.returncode == 0, told
    assert "going on: " in told
    assert contents(out) == contents(whole[0])


@pytest.mark.cluster
def test_ray__runs_give_the_same_parts_and_an_interrupt_leaves_nothing_behind(pixel_run, many, tmp_path, one_at_a_time):
    here, out = tmp_path / "here", tmp_path / "parts"
    predict(model=pixel_run, inputs=[many], out=here, **SIZES)
    run = started(pixel_run, many, out, "--engine", "ray", "--cpus-per-worker", "1")
    wait_for(lambda: finished(out) >= 3, run)
    workers = workers_of(run)
    assert workers
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=SOON)
    assert run.returncode == 1
    assert told.splitlines()[-1] == "interrupted: run the same command again to go on"
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive
    assert not [path.name for path in out.iterdir() if path.name.endswith((".partial", WORKERS))]
    assert finished(out) >= 3
    # The parts that Ray has made stay.
    run = started(pixel_run, many, out, "--quiet")
    assert (run.communicate(timeout=SOON)[1], run.returncode) == ("", 0)
    assert contents(out) == contents(here)


@pytest.mark.parametrize(
    ("options", "error", "line"),
    [
        ({"engine": "ray", "out": None}, UsageError, "--engine ray is for predictions that go to a folder: --out DIR"),
        ({"engine": "ray", "out": Path("p.csv")}, UsageError, "--engine ray is for predictions that go to a folder"),
        ({"address": "auto"}, UsageError, "--address is for --engine ray: give that, too, or leave it out"),
        ({"cpus_per_worker": 2}, UsageError, "--cpus-per-worker is for --engine ray"),
        ({"engine": "ray", "address": "nonsense"}, UsageError, "--address 'nonsense' is no address: give auto"),
        ({"engine": "ray", "address": "127.0.0.1:1"}, UlfineError, "no Ray cluster answers at 127.0.0.1:1"),
        ({"engine": "ray", "gpus_per_worker": 2.0}, UsageError, "gpus_per_worker=2.0 cannot be used"),
        ({"engine": "spark"}, UsageError, "engine='spark' cannot be used"),
    ],
)
def test_engine__refuses(pixel_onnx, many, tmp_path, monkeypatch, options, error, line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UlfineError) as refused:
        predict(**({"model": pixel_onnx, "inputs": [many], "out": tmp_path / "parts"} | options))
    assert type(refused.value) is error
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("*.parquet"))


def test_engine__is_not_installed(pixel_onnx, many, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UlfineError) as refused:
        predict(model=pixel_onnx, inputs=[many], out=tmp_path / "parts", engine="ray")
    assert str(refused.value) == "--engine ray needs Ray, which is not installed: pip install 'ulfine-fast[ray]'"


@pytest.fixture
def worker_of(pixel_onnx, many, tmp_path):
    """Make a worker for a folder, without Ray; keywords change what it is told."""
    out = tmp_path / "parts"
    out.mkdir()
    (out / WORKERS).write_text("token")

    def make_worker(token="token", digest=None, versions=(), device="cuda", **changes):
        values = {"model": pixel_onnx, "place": many, "out": out, "options": SourceOptions(), "views": "auto"}
        values |= {"prior": None, "timeout": 60.0, "workers": None, **SIZES}
        asked = PartRequest(**(values | changes))
        told = part_versions(asked) | dict(versions)
        return PartWorker(asked, digest or asked.model_digest(), token, told, device, 1), out

    return make_worker


def test_worker__answers_in_small_values(worker_of, many, whole):
    worker, out = worker_of()
    assert set(worker.ready()) == {"device"}
    answer = worker.make(1, listing_digest(blocks_of(open_unlabelled(many).items, 3)[1]))
    path = out / "part-00001.parquet"
    assert answer == {"done": {"number": 1, "sha256": file_sha256(path)}, "notes": []}
    assert path.read_bytes() == (whole[0] / path.name).read_bytes()
    assert worker.at()[0] == 3


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"token": "another"}, "does not see the folder"),
        ({"versions": {"numpy": "0.1"}}, "instead of 0.1: install the same versions on all machines, or predictions"),
        ({"digest": "0" * 16}, "has another model at"),
        ({"place": Path("/no/such/folder")}, "no folder /no/such/folder"),
    ],
)
def test_worker__refuses(worker_of, changes, line):
    worker, out = worker_of(**changes)
    answer = worker.ready()
    assert line in answer["refused"]
    assert "\n" not in answer["refused"]
    assert [path.name for path in out.iterdir()] == [WORKERS]


def test_worker__refuses_other_images_and_other_inputs(worker_of, feature_onnx):
    worker, out = worker_of()
    assert "finds other images in" in worker.make(1, "0" * 64)["refused"]
    worker, _ = worker_of(model=feature_onnx)
    assert "takes features, not images" in worker.ready()["refused"]
    assert not list(out.glob("*.parquet"))


def test_worker__that_holds_no_gpu_finds_none(worker_of, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    worker_of(device="cuda")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    worker_of(device="cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_predictor__a_run_answers_the_same_on_any_number_of_threads(pixel_run):
    """What a part holds must not depend on how many cores the machine has that makes it."""
    import threading

    import torch

    predictor = open_predictor(pixel_run)
    rng = np.random.default_rng(0)
    predictor.reader()
    shape = (1, *predictor._encoder.preprocess.pixel_shape)
    pictures = [rng.integers(0, 256, shape, np.uint8) for _ in range(5)]
    found = []

    def ask(cores):
        torch.set_num_threads(cores)
        with predictor.side_by_side(cores) as (count, begin):
            assert count == cores
            begin()
            assert torch.get_num_threads() == 1
            found.append(predictor.images(pictures)[0].tobytes())
        assert torch.get_num_threads() == cores

    before = torch.get_num_threads()
    for cores in (1, 2, 4):
        thread = threading.Thread(target=ask, args=(cores,))
        thread.start()
        thread.join()
    torch.set_num_threads(before)
    assert len(found) == 3
    assert len(set(found)) == 1
