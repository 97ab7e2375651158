"""Models to serve, built node by node, and servers on loopback addresses."""

import contextlib
import io
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

pytest.importorskip("uvicorn", reason="the extra serve is not installed")

from ulfine_exports.metadata import ExportMetadata
from ulfine_exports.serve.server import serving

CLASSES = ("red", "green", "blue")
PREPROCESS = {
    "size": [8, 8],
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
    "fill_color": 0,
}


def value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def write_model(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any], **metadata: Any
) -> Path:
    """An exported file as `ulfine export` would write it, of any graph."""
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "main", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    described = ExportMetadata(n_features=3, **metadata)
    helper.set_model_props(model, described.to_props())
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="session")
def colours_onnx(models: Path) -> Path:
    """Pixels to red, green or blue by their mean; the text side likes what it sees, the probe insists on blue."""
    nodes = [
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "four"], ["logits_text"]),
        helper.make_node("Mul", ["mean", "slope"], ["flat"]),
        helper.make_node("Add", ["flat", "blue"], ["logits_probe"]),
        helper.make_node("Add", ["logits_text", "logits_probe"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    outputs = [value(name, ["batch", 3]) for name in ("probabilities", "logits", "logits_text", "logits_probe")]
    constants = {
        "axes": np.int64([2, 3]),
        "four": np.float32(4),
        "slope": np.float32(0),
        "blue": np.float32([0, 0, 2]),
    }
    return write_model(
        models / "colours.onnx",
        nodes,
        [value("pixels", ["batch", 3, 8, 8])],
        outputs,
        constants,
        input="pixels",
        class_names=CLASSES,
        preprocess=json.dumps(PREPROCESS),
        method="ulfine",
        model="builtin:tiny",
        logit_parts=("text", "probe"),
    )


@pytest.fixture(scope="session")
def painting_onnx(models: Path) -> Path:
    """As `colours_onnx`, of uint8 images of any size, and without parts."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["flat"]),
        helper.make_node("Add", ["flat", "blue"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    constants = {"axes": np.int64([1, 2]), "scale": np.float32(4 / 255), "blue": np.float32([0, 0, 2])}
    return write_model(
        models / "painting.onnx",
        nodes,
        [value("image", ["batch", "height", "width", 3], TensorProto.UINT8)],
        [value(name, ["batch", 3]) for name in ("probabilities", "logits")],
        constants,
        input="image",
        class_names=CLASSES,
        preprocess=json.dumps(PREPROCESS),
    )


@pytest.fixture(scope="session")
def trees_onnx(models: Path) -> Path:
    """`softmax(features @ weights)` for 16 features and 4 classes."""
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    return write_model(
        models / "trees.onnx",
        nodes,
        [value("features", ["batch", 16])],
        [value(name, ["batch", 4]) for name in ("probabilities", "logits")],
        {"weights": tree_weights()},
        input="features",
        class_names=("ash", "birch", "cedar", "date palm"),
        method="lp",
    )


def tree_weights() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((16, 4)).astype(np.float32)


@pytest.fixture(scope="session")
def slow_onnx(models: Path) -> Path:
    """Takes some tenths of a second: matrix products that hang on the input, so that none is folded."""
    nodes = [
        helper.make_node("ReduceSum", ["features", "axis"], ["sum"], keepdims=0),
        helper.make_node("Reshape", ["sum", "one"], ["first"]),
        helper.make_node("Mul", ["first", "zero"], ["nothing"]),
        helper.make_node("Add", ["square", "nothing"], ["m0"]),
    ]
    steps = 8
    for step in range(steps):
        nodes.append(helper.make_node("MatMul", [f"m{step}", "square"], [f"m{step + 1}"]))
    nodes += [
        helper.make_node("ReduceMean", [f"m{steps}"], ["m"], keepdims=0),
        helper.make_node("Mul", ["m", "nothing"], ["still_nothing"]),
        helper.make_node("Add", ["features", "still_nothing"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    side = 1200
    constants = {
        "axis": np.int64([0, 1]),
        "one": np.int64([1]),
        "zero": np.float32(0),
        "square": np.full((side, side), 1 / side, np.float32),
    }
    return write_model(
        models / "slow.onnx",
        nodes,
        [value("features", ["batch", 3])],
        [value(name, ["batch", 3]) for name in ("probabilities", "logits")],
        constants,
        input="features",
        class_names=CLASSES,
    )


@pytest.fixture(scope="session")
def many_onnx(models: Path) -> Path:
    """2000 classes, so that answers are large."""
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    return write_model(
        models / "many.onnx",
        nodes,
        [value("features", ["batch", 3])],
        [value(name, ["batch", 2000]) for name in ("probabilities", "logits")],
        {"weights": np.random.default_rng(0).standard_normal((3, 2000)).astype(np.float32)},
        input="features",
        class_names=tuple(f"class {number}" for number in range(2000)),
    )


def png(colour: str, size: tuple[int, int] = (20, 16)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format="PNG")
    return buffer.getvalue()


def read_answer(client: socket.socket) -> tuple[int, bytes]:
    """Status and body of one answer on a bare connection, and not a byte more."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = client.recv(1)
        assert part, received
        received += part
    length = int(received.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        part = client.recv(length - len(body))
        assert part, body
        body += part
    return int(received.split(b" ", 2)[1]), body


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def refused(self, status: int) -> str:
        """The error's one line."""
        assert self.status == status, self.body
        (error,) = self.json.values()
        assert "\n" not in error
        return error


@dataclass(frozen=True)
class Server:
    url: str

    @property
    def address(self) -> tuple[str, int]:
        place = urlsplit(self.url)
        assert place.hostname is not None
        assert place.port is not None
        return place.hostname, place.port

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        connection = HTTPConnection(*self.address, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            named = {name.lower(): text for name, text in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def infer(self, model: str, request: Any) -> Answer:
        body = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self.ask("POST", f"/v2/models/{model}/infer", body)

    def raw(self) -> socket.socket:
        """A bare connection, for clients that do not behave."""
        return socket.create_connection(self.address, timeout=30)

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").body.decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Callable[..., Server]:
    """Serve a model until the test is over."""
    stack = contextlib.ExitStack()
    request.addfinalizer(stack.close)
    return lambda model, **options: Server(
        stack.enter_context(serving(model=model, device="cpu", threads=1, **options))
    )


@pytest.fixture(scope="session")
def colours(colours_onnx: Path) -> Any:
    with serving(model=colours_onnx, device="cpu", threads=1) as url:
        yield Server(url)


@pytest.fixture(scope="session")
def trees(trees_onnx: Path) -> Any:
    with serving(model=trees_onnx, device="cpu", threads=1, max_batch=32) as url:
        yield Server(url)
