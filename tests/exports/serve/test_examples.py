"""The clients in `examples/serving`, as their first lines say they are run."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from tests.conftest import ROOT
from tests.exports.serve.conftest import png
from ulfine_exports.onnx_classifier import OnnxClassifier

EXAMPLES = ROOT / "examples" / "serving"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures of examples")
    for name, colour, size in (("wide", "red", (90, 40)), ("high", "#00ff00", (30, 64)), ("grey", "grey", (16, 16))):
        (folder / f"{name}.png").write_bytes(png(colour, size))
    return [folder / f"{name}.png" for name in ("wide", "high", "grey")]


def run(*command: object) -> list[str]:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, cwd=EXAMPLES)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def expected(model: Path, pictures: list[Path]) -> list[tuple[str, float]]:
    classifier = OnnxClassifier(model, device="cpu")
    rows = classifier.predict_proba(pictures)
    return [(classifier.class_names[row.argmax()], float(row.max())) for row in rows]


def check(lines: list[str], pictures: list[Path], model: Path, tolerance: float) -> None:
    for line, picture, (name, probability) in zip(lines, pictures, expected(model, pictures), strict=True):
        found = re.fullmatch(rf"{re.escape(str(picture))}: (.*) (\d\.\d{{4}})", line)
        assert found, line
        assert found[1] == name
        assert float(found[2]) == pytest.approx(probability, abs=tolerance)


@pytest.mark.parametrize("kind", ["colours_onnx", "painting_onnx"])
def test_python__only_onnxruntime_and_pillow(request, pictures, kind):
    model = request.getfixturevalue(kind)
    check(run(sys.executable, "classify.py", model, *pictures), pictures, model, 1e-4)
    modules = re.findall(r"^(?:import|from) (\w+)", (EXAMPLES / "classify.py").read_text(), re.MULTILINE)
    assert set(modules) <= {"json", "sys", "numpy", "onnxruntime", "PIL"}


def test_python__embedded_clip_on_drawings(pixel_onnx, photographs):
    files = sorted(photographs.rglob("*.png"))[:4]
    check(run(sys.executable, "classify.py", pixel_onnx, *files), files, pixel_onnx, 1e-3)


@pytest.fixture(scope="module")
def centred_onnx(colours_onnx, tmp_path_factory):
    """As encoders of timm are: pictures are resized to more than is looked at."""
    model = onnx.load(colours_onnx)
    for entry in model.metadata_props:
        if entry.key == "preprocess":
            entry.value = json.dumps(json.loads(entry.value) | {"resize": [16, 16]})
    path = tmp_path_factory.mktemp("centred") / "centred.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def framed(tmp_path_factory):
    """A large green JPEG with a red frame, whose lines are finer than what libjpeg's own shrinking keeps."""
    # Not so bright that a decoder would have to clip colours.
    values = np.full((1600, 2000, 3), (220, 60, 60), np.uint8)
    values[300:1300:2, 500:1500] = (40, 230, 40)
    values[301:1300:2, 500:1500] = (40, 170, 40)
    path = tmp_path_factory.mktemp("framed") / "framed.jpg"
    Image.fromarray(values).save(path, quality=95)
    return path


def test_python__cuts_out_the_centre(centred_onnx, framed, pictures):
    check(run(sys.executable, "classify.py", centred_onnx, framed, *pictures), [framed, *pictures], centred_onnx, 1e-4)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.skipif(not (EXAMPLES / "node_modules").is_dir(), reason="no packages: npm install in examples/serving")
@pytest.mark.parametrize("kind", ["colours_onnx", "centred_onnx"])
def test_javascript__large_jpeg(request, framed, kind):
    model = request.getfixturevalue(kind)
    check(run("node", "classify.mjs", model, framed), [framed], model, 0.02)


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
@pytest.mark.skipif(not (EXAMPLES / "node_modules").is_dir(), reason="no packages: npm install in examples/serving")
@pytest.mark.parametrize("kind", ["colours_onnx", "painting_onnx"])
def test_javascript(request, pictures, kind):
    model = request.getfixturevalue(kind)
    check(run("node", "classify.mjs", model, *pictures), pictures, model, 0.02)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
def test_curl(colours, pictures):
    ready, one, several = run("sh", "curl.sh", colours.url, *pictures)
    assert ready == '{"ready":true}'
    assert '"label":"red"' in one
    assert re.findall(r'"name":"(\w+\.png)","label":"(\w+)"', several) == [
        ("wide.png", "red"),
        ("high.png", "green"),
        ("grey.png", "blue"),
    ]


def test_tritonclient(start, trees, painting_onnx, pictures, tmp_path):
    pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    rows = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    address = trees.url.removeprefix("http://")
    lines = run(sys.executable, "triton_client.py", address, "trees", tmp_path / "rows.npy")
    assert [line.split(":")[0] for line in lines] == ["row 0", "row 1", "row 2"]
    server = start(painting_onnx)
    (line,) = run(sys.executable, "triton_client.py", server.url.removeprefix("http://"), "painting", pictures[0])
    name, probability = expected(painting_onnx, pictures[:1])[0]
    assert line == f"row 0: {name} {probability:.4f}"


def test_every_example_is_here():
    tested = {"classify.py", "classify.mjs", "curl.sh", "triton_client.py", "package.json"}
    # The first is run by test_ray_serve.py, the second is read by test_docs.py.
    tested |= {"ray_serve.py", "triton_kubernetes.yaml"}
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == tested
