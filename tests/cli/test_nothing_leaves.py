"""No command writes anywhere but where it was told to, and none looks up a name or calls anybody."""

import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.cli.conftest import draw_shapes

strace = shutil.which("strace")
pytestmark = pytest.mark.skipif(strace is None, reason="strace is not installed")

WATCHED = "connect,sendto,sendmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink"
CALL = re.compile(r"\b(?P<name>\w+)\((?P<arguments>.*)\)\s+= (?P<result>-?\d+)")
OURS = ("127.0.0.1", "::1")
# MLflow would send figures about its use to its makers.
LOGGED = ("--log", "mlflow") if importlib.util.find_spec("mlflow") else ()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nothing-leaves")
    for number, shape in enumerate(("ellipse", "rectangle")):
        draw_shapes(folder / "photos" / "train" / shape, shape, 6, number)
        draw_shapes(folder / "photos" / "test" / shape, shape, 2, number + 10)
    for name in ("home", "tmp", "out"):
        (folder / name).mkdir()
    return folder


def environment(folder):
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": ":".join(sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "MLFLOW_TRACKING_URI": (folder / "out" / "mlflow").as_uri(),
    }


def traced(folder, *arguments):
    tracer = [strace, "-f", "-y", "-s", "300", "-o", folder / "trace", "-e", f"trace={WATCHED}"]
    return [*tracer, sys.executable, "-c", "import sys; from ulfine_cli.main import main; sys.exit(main())", *arguments]


def check(folder):
    """What the trace says of other places and other machines."""
    calls = [found for line in (folder / "trace").read_text().splitlines() if (found := CALL.search(line))]
    assert len(calls) > 100
    called = [found[0] for found in calls if "AF_INET" in found[0] and not any(own in found[0] for own in OURS)]
    # What is read before a name server is asked.
    called += [found[0] for found in calls if "/etc/resolv.conf" in found[0] or "/etc/hosts" in found[0]]
    assert called == []
    changing = [
        found[0]
        for found in calls
        if int(found["result"]) >= 0
        and (not found["name"].startswith("open") or re.search("O_WRONLY|O_RDWR|O_CREAT", found["arguments"]))
        and found["name"] not in ("connect", "sendto", "sendmsg")
    ]
    inside = (str(folder / "out"), str(folder / "tmp"), "/dev/", "/proc/self/", '"out/', '"out"', "/memfd:")
    assert [call for call in changing if not any(place in call for place in inside)] == []
    assert list((folder / "home").iterdir()) == []


def test_ulfine__writes_and_calls_nothing_else(folder):
    for arguments in (
        ("cache-features", "photos", "--out", "out/cache", "--model", "builtin:tiny", "--device", "cpu"),
        ("fit", "out/cache", "--out", "out/run", *LOGGED),
        ("export", "out/run", "--onnx", "out/m.onnx", "--input", "image"),
        ("predict", "out/run", "photos", "--out", "out/p.csv"),
        ("predict", "out/m.onnx", "photos", "--out", "out/q.csv", "--json", "out/q.json"),
    ):
        done = subprocess.run(
            traced(folder, *arguments), cwd=folder, env=environment(folder), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        check(folder)


@pytest.mark.parametrize(
    ("needed", "arguments"),
    [
        ("m.onnx", ("serve", "out/m.onnx")),
        ("run", ("label", "out/cache", "--run", "out/run", "--out", "out/labels.csv")),
    ],
    ids=["serve", "label"],
)
def test_servers__write_and_call_nothing_else(folder, needed, arguments):
    pytest.importorskip("uvicorn")
    if not (folder / "out" / needed).exists():
        pytest.skip("the test before wrote nothing to serve")
    server = subprocess.Popen(
        traced(folder, *arguments, "--port", "0"),
        cwd=folder,
        env=environment(folder),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    with server:
        try:
            told = ""
            while "http://" not in told:
                line = server.stderr.readline()
                assert line, told
                told += line
            time.sleep(0.2)
        finally:
            # strace keeps signals to itself: they go to what it runs.
            for child in psutil.Process(server.pid).children():
                child.send_signal(signal.SIGTERM)
    check(folder)
