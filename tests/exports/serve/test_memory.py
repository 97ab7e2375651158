"""No request takes the process a gigabyte above its start: the worst of each kind is sent, and the peak is read."""

import json
import socket
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.attacks import requests
from tests.exports.serve.conftest import png
from tests.exports.serve.processes import Process
from ulfine_cache.preprocess import Preprocess
from ulfine_exports.graphs.image_graph import prepend, preprocess_graph

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the process's memory is read from /proc")

BOUND = 10**9
SIZE = 64 * 2**20 - 200
"""Just below the default of --max-body-mb."""


class Watched:
    """A server, and how far a request takes its memory above what it had at its start."""

    def __init__(self, process):
        self.server = process.server
        self.folder = Path("/proc") / str(process.process.pid)
        self.start = self.memory("VmRSS")

    def memory(self, what):
        lines = (self.folder / "status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(what))

    def above_start(self, path, body, headers):
        (self.folder / "clear_refs").write_text("5")  # the peak begins anew, see proc(5)
        answer = self.server.ask("POST", path, body, headers)
        return answer, self.memory("VmHWM") - self.start


@pytest.fixture(scope="module")
def prepared_onnx(models, colours_onnx):
    """The model of the colours behind the preparation that `ulfine export --input image` puts before it."""
    described = {item.key: item.value for item in onnx.load(colours_onnx).metadata_props}
    preparing = preprocess_graph(Preprocess.from_json(described["preprocess"]), 20)
    model = onnx.load(colours_onnx)
    model.graph.input[0].name = "prepared"
    model.graph.node[0].input[0] = "prepared"
    whole = prepend(preparing, model)
    onnx.helper.set_model_props(whole, described | {"input": "image"})
    path = models / "prepared.onnx"
    onnx.save(whole, path)
    return path


@pytest.fixture(scope="module")
def watched(many_onnx, colours_onnx, prepared_onnx):
    """Servers of features, of pixels and of whole pictures, all with the default bounds."""
    processes = {}
    for name, model, path in (
        ("features", many_onnx, "/v2/models/many/infer"),
        ("pixels", colours_onnx, "/classify"),
        ("image", prepared_onnx, "/classify"),
    ):
        process = Process(model, "--port", 0, "--device", "cpu", "--threads", 1)
        process.server.get("/metrics")
        if path == "/classify":
            assert process.server.ask("POST", path, png("red")).status == 200
        processes[name] = process, Watched(process)
    yield {name: watch for name, (_, watch) in processes.items()}
    for process, _ in processes.values():
        process.kill()


def check(watch, path, body, headers, report):
    answer, above = watch.above_start(path, body, headers)
    report("peak_above_start_mb", round(above / 2**20))
    print(f"{answer.status} {above / 2**20:.0f} MB {answer.body[:100]!r}")
    assert above < BOUND
    assert answer.status in (200, 400, 413, 503)
    assert len(answer.body) < BOUND / 4
    return answer


@pytest.mark.parametrize("kind", requests.JSON_OF_A_SIZE)
def test_json(watched, kind, record_property):
    body = requests.JSON_OF_A_SIZE[kind](SIZE)
    assert SIZE - 5000 < len(body) <= 64 * 2**20
    check(watched["features"], "/v2/models/many/infer", body, requests.JSON, record_property)


def test_json__compressed(watched, record_property):
    body = requests.gzipped(requests.JSON_OF_A_SIZE["small numbers"](SIZE))
    assert len(body) < 2**20
    headers = requests.JSON | {"Content-Encoding": "gzip"}
    check(watched["features"], "/v2/models/many/infer", body, headers, record_property)


def test_json__text_among_numbers(watched, record_property):
    body = requests.text_among_numbers()
    assert len(body) < 200_000
    answer = check(watched["features"], "/v2/models/many/infer", body, requests.JSON, record_property)
    assert answer.status == 400


@pytest.mark.parametrize("parameters", [{}, {"classification": 10**9}, {"binary_data": True}], ids=str)
def test_json__one_output_over_and_over(watched, parameters, record_property):
    body = requests.outputs(4000, **parameters)
    answer = check(watched["features"], "/v2/models/many/infer", body, requests.JSON, record_property)
    assert "asked for twice" in answer.refused(400)


@pytest.mark.parametrize("parameters", [{}, {"classification": 10**9}, {"binary_data": True}], ids=str)
def test_json__the_largest_answer(watched, parameters, record_property):
    """As many rows as are taken at a time, and all that is to be known about each."""
    rows = np.ones((1024, 3)).tolist()
    request = {"inputs": [{"name": "features", "shape": [1024, 3], "datatype": "FP32", "data": rows}]}
    request["outputs"] = [{"name": name, "parameters": parameters} for name in ("logits", "probabilities")]
    body = json.dumps(request).encode()
    answer = check(watched["features"], "/v2/models/many/infer", body, requests.JSON, record_property)
    assert answer.status == (413 if "classification" in parameters else 200)


@pytest.mark.parametrize("shape", [(1, 4000, 5000, 3), (1000, 100, 200, 3), (1, 1, 20_000_000, 3)], ids=str)
def test_binary__pictures_as_large_as_a_body(watched, shape, record_property):
    size = int(np.prod(shape))
    item = {"name": "image", "shape": shape, "datatype": "UINT8", "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [item]}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(text))}
    answer = check(watched["image"], "/v2/models/prepared/infer", text + bytes(size), headers, record_property)
    assert answer.status == 200


@pytest.mark.parametrize("kind", requests.FORMS_OF_A_SIZE)
def test_form(watched, kind, record_property):
    body = requests.FORMS_OF_A_SIZE[kind](SIZE)
    check(watched["pixels"], "/classify", body, requests.FORM, record_property)


@pytest.mark.parametrize("kind", requests.LARGEST_PICTURES)
@pytest.mark.parametrize("model", ["pixels", "image"])
def test_pictures__two_at_once(watched, kind, model, record_property):
    picture = requests.LARGEST_PICTURES[kind]()
    body = requests.form(picture, picture)
    answer = check(watched[model], "/classify?top=1", body, requests.FORM, record_property)
    if "over the bound" in kind or "400 million" in kind or kind == "tiff of floats":
        assert "too large" in answer.refused(400)
    else:
        assert answer.status == 200


def test_body_that_lies_about_its_length(watched):
    """A promise of bytes takes no memory."""
    watch = watched["features"]
    with watch.server.raw() as client:
        client.sendall(
            b"POST /v2/models/many/infer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 67000000\r\n\r\n"
        )
        client.settimeout(0.5)
        with pytest.raises(socket.timeout):
            client.recv(1)
        assert watch.memory("VmRSS") - watch.start < BOUND
