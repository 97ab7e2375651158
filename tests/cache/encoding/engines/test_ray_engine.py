"""Shards made on a Ray cluster: the same bytes as here, whoever is killed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.cache.conftest import Recorder, write_picture
from ulfine_cache.encoding.engines import ray_engine
from ulfine_cache.encoding.engines.ray_cluster import Room, how_many
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.stage_one import cache_features
from ulfine_cache.verify import verify

pytest.importorskip("ray")
ASKED = {"model": "builtin:tiny", "device": "cpu", "precision": "fp32", "shard_size": 2}
MACHINES = Path(__file__).parent / "ray_machines.py"
SOON = 120


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(160):
        write_picture(folder / f"class{number % 2}" / f"{number:03d}.png", number)
    (folder / "class1" / "broken.png").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def whole(photos, tmp_path_factory):
    """What the local engine makes of the photos."""
    out = tmp_path_factory.mktemp("whole") / "cache"
    return cache_features(source=photos, out=out, **ASKED)


def environment(home, **more):
    path = os.pathsep.join(path for path in sys.path if path)
    return os.environ | {"PYTHONPATH": path, "HOME": str(home), "RAY_USAGE_STATS_ENABLED": "0", **more}


def command(photos, out, *options):
    asked = [text for name, value in ASKED.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    run = [sys.executable, "-m", "ulfine_cli.main", "cache-features", photos, "--out", out, *asked]
    return [*run, "--engine", "ray", "--cpus-per-worker", "1", *options]


def contents(cache):
    names = [*(f"shards/{path.name}" for path in sorted((cache / "shards").iterdir())), "skipped.csv", "image.faiss"]
    return {name: (cache / name).read_bytes() for name in names}


def finished(cache):
    return len(list((cache / "shards").glob("*.h5")))


def wait_for(condition, process=None):
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.01)


def rays_of(folder):
    """Processes of Ray whose sockets lie in a folder."""
    return [found for found in psutil.process_iter(["cmdline"]) if folder in " ".join(found.info["cmdline"] or [])]


@pytest.mark.cluster
def test_ray__on_this_machine_makes_the_same_cache_and_leaves_nothing_behind(photos, whole, tmp_path, one_at_a_time):
    before = set(Path("/tmp").glob("ulfine-ray-*"))
    out, home = tmp_path / "cache", tmp_path / "home"
    home.mkdir()
    run = command(photos, out, "--json", tmp_path / "figures.json")
    done = subprocess.run(run, env=environment(home), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert contents(out) == contents(Path(whole["cache"]))
    figures = json.loads((tmp_path / "figures.json").read_text())
    apart = {"cache", "seconds", "images_per_second"}
    assert {name: value for name, value in figures.items() if name not in apart} == {
        name: value for name, value in whole.items() if name not in apart
    }
    assert any("up to" in line and "of 1 core" in line for line in done.stderr.splitlines())
    assert "ray" not in done.stdout.replace(str(tmp_path), "")
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in Path(whole["cache"]).iterdir())
    assert list(home.iterdir()) == []
    assert set(Path("/tmp").glob("ulfine-ray-*")) <= before

    # Interrupted, it ends with all of its processes, and what stands is kept.
    out = tmp_path / "interrupted"
    process = subprocess.Popen(command(photos, out), env=environment(home), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: finished(out) >= 3, process)
    (folder,) = set(Path("/tmp").glob("ulfine-ray-*")) - before
    assert rays_of(str(folder))
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=SOON)
    assert process.returncode == 1
    assert told.splitlines()[-1] == "interrupted: run the same command again to go on"
    assert "Traceback" not in told
    assert rays_of(str(folder)) == []
    assert not folder.exists()
    assert not list(out.rglob("*.partial"))
    assert contents_so_far(out).items() <= contents(Path(whole["cache"])).items()


def contents_so_far(cache):
    return {f"shards/{path.name}": path.read_bytes() for path in (cache / "shards").glob("*.h5*")}


@pytest.mark.cluster
def test_ray__cluster_whose_workers_machines_and_driver_are_killed(photos, whole, tmp_path, one_at_a_time):
    home = tmp_path / "home"
    home.mkdir()
    place = environment(home, RAY_AUTH_MODE="disabled")
    cluster = subprocess.Popen(
        [sys.executable, MACHINES, "3"], env=place, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert cluster.stdin and cluster.stdout
    stdin, stdout = cluster.stdin, cluster.stdout

    def kill(what):
        stdin.write(f"{what}\n")
        stdin.flush()
        return stdout.readline().strip() != "-"

    with cluster:
        address = stdout.readline().strip()
        out = tmp_path / "cache"
        run = command(photos, out, "--address", address)
        driver = subprocess.Popen(run, env=place, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(lambda: finished(out) >= 8, driver)
        assert kill("worker")
        wait_for(lambda: finished(out) >= 16, driver)
        driver.kill()
        driver.wait()
        between = finished(out)
        assert 16 <= between < 81
        driver = subprocess.Popen(run, env=place, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: finished(out) >= between + 6, driver)
        assert kill("machine")
        wait_for(lambda: finished(out) >= between + 16, driver)
        kill("worker")
        _, told = driver.communicate(timeout=SOON)
        assert driver.returncode == 0, told
        assert f"going on: {between}" in told or "going on: " in told
        stdin.close()
    assert contents(out) == contents(Path(whole["cache"]))
    assert verify(cache=out)["damaged"] == []
    assert not [path for path in out.rglob("*") if path.name in (".workers", ".plan", ".seen")]


def test_engine__does_not_start_ray_where_all_is_there(photos, whole, tmp_path, monkeypatch):
    out = tmp_path / "cache"
    shutil.copytree(whole["cache"], out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.name != ".lock"}
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(ray_engine, "RayCluster", lambda address: pytest.fail("started"))
        watch = Recorder()
        again = cache_features(source=photos, out=out, engine="ray", progress=watch, **ASKED)
    assert (again["shards_encoded"], watch.notes[-1]) == (0, f"{out} is complete: nothing to do")
    assert before == {path: path.stat().st_mtime_ns for path in before}

    # With something to do, what cannot be done is told while the cache is still one.
    (out / "shards" / "00003.h5").unlink()
    with pytest.raises(UlfineError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 "):
        cache_features(source=photos, out=out, engine="ray", address="127.0.0.1:1", **ASKED)
    assert (out / "cache.h5").is_file()


@pytest.mark.parametrize(
    ("options", "error", "line"),
    [
        ({"address": "auto"}, UsageError, "--address is for --engine ray: give that, too, or leave it out"),
        ({"cpus_per_worker": 2}, UsageError, "--cpus-per-worker is for --engine ray"),
        ({"gpus_per_worker": 0.0}, UsageError, "--gpus-per-worker is for --engine ray"),
        ({"engine": "ray", "shard_range": "0:1"}, UsageError, "--shard-range is for processes of --engine local"),
        ({"engine": "ray", "device": "cuda:1"}, UsageError, "each worker has its own GPU: give cuda"),
        ({"engine": "ray", "device": "cuda", "gpus_per_worker": 0.0}, UsageError, "leaves no GPU for --device cuda"),
        ({"engine": "ray", "address": "nonsense"}, UsageError, "--address 'nonsense' is no address: give auto"),
        ({"engine": "ray", "address": "ray://here:1"}, UsageError, "is no address"),
        ({"engine": "ray", "address": "127.0.0.1:1"}, UlfineError, "no Ray cluster answers at 127.0.0.1:1 (connection"),
        ({"engine": "ray", "gpus_per_worker": 2.0}, UsageError, "gpus_per_worker=2.0 cannot be used"),
        ({"engine": "ray", "cpus_per_worker": 0}, UsageError, "cpus_per_worker=0 cannot be used"),
        ({"engine": "spark"}, UsageError, "engine='spark' cannot be used"),
    ],
)
def test_engine__refuses(photos, tmp_path, options, error, line):
    with pytest.raises(UlfineError) as refused:
        cache_features(source=photos, out=tmp_path / "cache", **(ASKED | options))
    assert type(refused.value) is error
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.rglob("*.h5"))


def test_engine__is_not_installed(photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UlfineError) as refused:
        cache_features(source=photos, out=tmp_path / "cache", engine="ray", **ASKED)
    assert str(refused.value) == "--engine ray needs Ray, which is not installed: pip install 'ulfine-fast[ray]'"


@pytest.mark.parametrize(
    ("machine", "wants", "workers"),
    [
        (Room(8, 0), Room(2, 0), 4),
        (Room(7, 0), Room(2, 0), 3),
        (Room(1, 0), Room(2, 0), 0),
        (Room(32, 4), Room(8, 1), 4),
        (Room(32, 2), Room(8, 1), 2),
        (Room(32, 0), Room(8, 1), 0),
        (Room(32, 1), Room(4, 0.1), 8),
        (Room(64, 1), Room(4, 0.1), 10),
        (Room(0, 0), Room(1, 0), 0),
    ],
)
def test_how_many__workers_a_machine_has_room_for(machine, wants, workers):
    assert how_many(machine, wants) == workers
