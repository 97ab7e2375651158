"""`examples/serving/ray_serve.py`: it answers what `ulfine serve` answers, and leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from http.client import HTTPConnection

import psutil
import pytest

from tests.conftest import ROOT
from tests.exports.serve.conftest import png

pytest.importorskip("ray")
EXAMPLE = ROOT / "examples" / "serving" / "ray_serve.py"
SOON = 120


@pytest.fixture(scope="module")
def has_serve():
    # The package is there without what it imports: `pip install ray` brings all files, and few of their needs.
    found = subprocess.run([sys.executable, "-c", "import ray.serve"], capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"ray[serve] is not installed ({found.stderr.strip().splitlines()[-1]})")


def place():
    """An environment with a home and sockets of its own; their paths may not be long."""
    folder = tempfile.TemporaryDirectory(prefix="ulfine-serve-", dir="/tmp")
    path = os.pathsep.join(path for path in sys.path if path)
    return folder, os.environ | {"PYTHONPATH": path, "HOME": folder.name, "RAY_TMPDIR": folder.name}


def ask(port, method, path, body=None, **headers):
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def form(*files):
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="image"; filename="%s"\r\n\r\n%s\r\n' % (name.encode(), data)
        for name, data in files
    ]
    return b"".join(parts) + b"--x--\r\n"


@pytest.mark.cluster
def test_ray_serve__answers_as_the_server_does(has_serve, start, colours_onnx, one_at_a_time):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    here = int(start(colours_onnx).url.rpartition(":")[2])
    folder, environment = place()
    with folder:
        call = [sys.executable, EXAMPLE, colours_onnx, "--port", str(port)]
        run = subprocess.Popen(call, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert run.stdout
        line = run.stdout.readline()
        if not line:
            pytest.fail(run.communicate()[1])
        assert line == f"{colours_onnx} at http://127.0.0.1:{port} until Ctrl+C\n"
        pictures = [("red.png", png("red", (60, 40))), ("broken.png", b"broken"), ("grey.png", png("grey", (9, 9)))]
        multipart = {"Content_Type": "multipart/form-data; boundary=x"}
        for request in (
            ("POST", "/classify?top=2", pictures[0][1]),
            ("POST", "/classify", b"broken"),
            ("POST", "/classify?top=none", pictures[0][1]),
            ("GET", "/v2/models/colours"),
            ("GET", "/v2/health/ready"),
            ("GET", "/nothing"),
        ):
            assert ask(port, *request) == ask(here, *request), request
        found = ask(port, "POST", "/classify", form(*pictures), **multipart)
        assert found == ask(here, "POST", "/classify", form(*pictures), **multipart)
        labels = [image.get("label", image.get("error")) for image in json.loads(found[1])["images"]]
        assert (labels[0], labels[2]) == ("red", "blue")
        assert "not an image" in labels[1]

        processes = psutil.Process(run.pid).children(recursive=True)
        assert any("classifier" in " ".join(process.cmdline()) for process in processes)
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=SOON)
        assert run.returncode == 0
        assert psutil.wait_procs(processes, timeout=20)[1] == []
