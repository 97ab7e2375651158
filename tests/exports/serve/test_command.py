"""`ulfine serve` as a process: how it starts, what it says, and how it ends."""

import concurrent.futures
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.exports.serve.conftest import CLASSES, Server, png, read_answer, value, write_model
from tests.exports.serve.processes import ULFINE, Process
from tests.exports.serve.test_limits import eventually

REQUESTS = int(os.environ.get("ULFINE_REQUESTS", "600"))
"""How many requests the memory is watched over; 10000 for the full claim."""


@pytest.fixture
def served(request):
    def start(*arguments, **options):
        process = Process(*arguments, "--port", 0, "--device", "cpu", "--threads", 1, **options)
        request.addfinalizer(process.kill)
        return process

    return start


def failed(*arguments):
    done = subprocess.run([ULFINE, "serve", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip().splitlines()[-1]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop__finishes_what_is_in_flight(served, colours_onnx, tmp_path, number):
    """A picture of which half has arrived is still classified; new connections are not accepted."""
    process = served(colours_onnx, "--json", tmp_path / "figures.json")
    body = png("red", (200, 200))
    with process.server.raw() as client, process.server.raw() as idle:
        client.sendall(f"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        client.sendall(body[:50])
        time.sleep(0.3)
        process.process.send_signal(number)
        refused = False
        for _ in range(200):
            try:
                process.server.raw().close()
            except ConnectionRefusedError:
                refused = True
                break
            time.sleep(0.02)
        assert refused
        time.sleep(0.5)
        client.sendall(body[50:])
        status, answer = read_answer(client)
        assert (status, json.loads(answer)["images"][0]["label"]) == (200, "red")
        assert idle.recv(10) == b""
    code, out, err = process.end()
    assert (code, err) == (0, "")
    assert "requests" in out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["url"], figures["rows"], figures["device"]) == (process.server.url, 1, "cpu")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_stop__is_not_ready_at_once_and_answers_for_a_while(served, colours_onnx):
    process = served(colours_onnx, "--drain-seconds", 60)
    process.process.send_signal(signal.SIGTERM)
    assert eventually(lambda: process.server.get("/v2/health/ready").status == 503)
    assert process.server.get("/v2/models/colours/ready").status == 503
    assert process.server.get("/v2/health/live").status == 200
    assert process.server.ask("POST", "/classify", png("red")).json["images"][0]["label"] == "red"
    process.process.send_signal(signal.SIGTERM)  # a second one ends the while
    code, _, err = process.end()
    assert (code, err) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_stop__after_the_while(served, colours_onnx):
    process = served(colours_onnx, "--drain-seconds", 0.2)
    process.process.send_signal(signal.SIGTERM)
    assert process.end()[0] == 0


ENDLESS = """
import sys, time
from ulfine_cache.pictures import pixels
from ulfine_cli.main import main
pixels.decode = lambda data, **options: time.sleep(600)
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("gone", [True, False])
def test_stop__while_a_picture_is_decoded_that_does_not_end(served, colours_onnx, gone):
    """No file is known that takes so long and is not refused, but nobody can interrupt a decoder."""
    process = served(colours_onnx, "--timeout", 1, command=[sys.executable, "-c", ENDLESS])
    body = png("red")
    with process.server.raw() as client:
        client.sendall(
            f"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        assert eventually(lambda: process.server.metric("ulfine_decoding_pictures") == 1)
        if gone:
            client.close()
        process.process.send_signal(signal.SIGTERM)
        code, _, err = process.end()
    assert (code, err) == (0, "")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no such signal")
def test_hangup__is_ignored(served, colours_onnx):
    process = served(colours_onnx)
    process.process.send_signal(signal.SIGHUP)
    assert process.server.get("/v2/health/ready").status == 200
    process.process.terminate()
    assert process.end()[0] == 0


def test_access__by_the_command_line(served, colours_onnx, tmp_path):
    (tmp_path / "keys").write_text("a-key\n")
    process = served(
        *(colours_onnx, "--host", "0.0.0.0", "--allowed-host", "birds.example", "--allowed-host", "*.local"),
        *("--cors-origin", "https://birds.example", "--api-key-file", tmp_path / "keys", "--root-path", "/birds"),
    )
    port = process.server.address[1]
    server, key = Server(f"http://127.0.0.1:{port}"), {"Authorization": "Bearer a-key"}
    for host, code in (("birds.example", 200), ("a.local", 200), ("10.0.0.7", 200), ("evil.example", 421)):
        assert server.ask("GET", "/birds/v2", headers=key | {"Host": host}).status == code, host
    assert server.get("/birds/v2").status == 401


def test_start__says_where_and_on_what(served, colours_onnx):
    process = served(colours_onnx)
    assert process.line.startswith(f"{colours_onnx}: pixels, 3 classes, on cpu, at http://127.0.0.1:")
    process.process.terminate()
    assert process.end()[0] == 0


def test_start__address_that_is_taken(colours_onnx):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, line = failed(colours_onnx, "--port", taken.getsockname()[1])
    assert code == 1
    assert re.search(r"cannot listen at 127\.0\.0\.1 port \d+ \(address already in use\): choose another", line)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["missing.onnx"], 1, "missing.onnx does not exist"),
        (["--port", "99999", "FILE"], 2, "port=99999 cannot be used"),
        (["--max-batch", "0", "FILE"], 2, "max_batch=0"),
        (["--timeout", "0", "FILE"], 2, "timeout=0"),
        (["--device", "tpu", "FILE"], 2, "device='tpu' cannot be used: choose auto, cpu or cuda"),
        (["--drain-seconds", "-1", "FILE"], 2, "drain_seconds=-1"),
        (["--allowed-host", "http://a", "FILE"], 2, "allowed_host='http://a' cannot be used: give a name"),
        (["--cors-origin", "null", "FILE"], 2, "cors_origin='null' cannot be used"),
        (["--api-key-file", "missing", "FILE"], 1, "cannot read the keys in missing: no such file"),
        (["--host", "no.such.host.invalid", "FILE"], 1, "cannot listen at no.such.host.invalid"),
        (["TEXT"], 1, "is no ONNX model"),
        (["BARE"], 1, "carries no 'ulfine_format' metadata"),
        (["EXTERNAL"], 1, "only single-file models are read"),
        (["CUSTOM"], 1, "operators of the domain 'com.elsewhere'"),
    ],
)
def test_start__what_cannot_be_served(colours_onnx, tmp_path, arguments, code, text):
    files = {"FILE": colours_onnx, **untrusted(tmp_path)}
    found = failed(*(files.get(argument, argument) for argument in arguments))
    assert found[0] == code
    assert text in found[1]


def untrusted(folder):
    """Files that are not what `ulfine export` writes."""
    (folder / "text.onnx").write_bytes(b"hello")
    softmax = helper.make_node("Softmax", ["features"], ["probabilities"])
    features, outputs = value("features", ["batch", 3]), [value("probabilities", ["batch", 3])]
    bare = helper.make_model(helper.make_graph([softmax], "main", [features], outputs))
    (folder / "bare.onnx").write_bytes(bare.SerializeToString())
    metadata = {"input": "features", "class_names": CLASSES}
    custom = helper.make_node("Softmax", ["features"], ["probabilities"], domain="com.elsewhere")
    write_model(folder / "custom.onnx", [custom], [features], outputs, {}, **metadata)
    external = helper.make_model(helper.make_graph([softmax], "main", [features], outputs))
    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/hostname")
    external.graph.initializer.append(tensor)
    (folder / "external.onnx").write_bytes(external.SerializeToString())
    names = {"TEXT": "text", "BARE": "bare", "CUSTOM": "custom", "EXTERNAL": "external"}
    return {word: folder / f"{name}.onnx" for word, name in names.items()}


def test_imports__no_torch(trees_onnx, colours_onnx):
    """Nothing heavy for the server and for `predict FILE.onnx`; a picture and a row have been classified."""
    code = """
import json, sys, urllib.request
from pathlib import Path
from ulfine_exports.serve.server import serving
with serving(model=Path(sys.argv[1]), device="cpu") as url:
    request = urllib.request.Request(url + "/classify", Path(sys.argv[2]).read_bytes(), {"Content-Type": "image/png"})
    sys.stdout.write(json.load(urllib.request.urlopen(request))["images"][0]["label"])
heavy = ("torch", "torchvision", "open_clip", "h5py", "faiss", "sklearn", "scipy", "pandas", "fastapi")
sys.stdout.write(" " + repr([name for name in heavy if name in sys.modules]))
"""
    picture = colours_onnx.parent / "red.png"
    picture.write_bytes(png("red"))
    done = subprocess.run([sys.executable, "-c", code, colours_onnx, picture], capture_output=True, text=True)
    assert done.stdout == "red []", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the process's memory is read from /proc")
def test_memory__stays_flat_over_requests_of_all_kinds(served, colours_onnx):
    """Good and bad requests in a row from four clients; ULFINE_REQUESTS says how many."""
    process = served(colours_onnx)
    server = process.server
    pixels = np.zeros((1, 3, 8, 8), np.float32)
    infer = {"inputs": [{"name": "pixels", "shape": [1, 3, 8, 8], "datatype": "FP32", "data": pixels.ravel().tolist()}]}
    picture = png("red", (300, 200))
    unfinished = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n" + bytes(5000)

    def ask(count):
        for number in range(count):
            kind = number % 6
            if kind == 0:
                assert server.infer("colours", infer).status == 200
            elif kind == 1:
                assert server.ask("POST", "/classify", b"broken" * 1000).status == 400
            elif kind == 2:
                with server.raw() as client:
                    client.sendall(unfinished)
            elif kind == 3:
                assert server.infer("colours", b'{"inputs": [1]}').status == 400
            else:
                assert server.ask("POST", "/classify", picture).status == 200

    def rounds(count):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, [count // 4] * 4))

    rounds(400)  # what fills pools and caches
    before = server.metric("process_resident_memory_bytes")
    opened = server.metric("process_open_fds")
    rounds(REQUESTS)
    assert server.metric("process_resident_memory_bytes") - before < 10e6
    assert server.metric("process_open_fds") <= opened + 4
    assert server.metric("ulfine_waiting_rows") == server.metric("ulfine_decoding_pictures") == 0
    assert server.metric('ulfine_requests_total{code="500"') == 0
