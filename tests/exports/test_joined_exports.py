"""Runs on several encoders, with all of them inside the file: pixels, images, lower precisions, served, published."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from ulfine_cache.errors import UsageError
from ulfine_cache.stage_one import cache_features
from ulfine_exports.deciding.input_features import input_features
from ulfine_exports.export import export_onnx
from ulfine_exports.info import info
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.predict import predict
from ulfine_exports.serve.served_model import ServedModel
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run

COLOURS = Path(__file__).resolve().parents[2] / "examples" / "parts" / "ulfine_colours.py"
"""An encoder of other pictures than builtin:tiny's: 64 x 64 instead of 32 x 32, other means."""

NUMBERS = 3 * (32**2 + 64**2)


@pytest.fixture(scope="module")
def runs(photographs, tmp_path_factory):
    """By views, of builtin:tiny and an encoder without text, whose pictures are larger."""
    folder = tmp_path_factory.mktemp("joined")
    found = {}
    for views in ("center", "five-crop"):
        cache = folder / f"cache-{views}"
        cache_features(
            source=photographs,
            out=cache,
            model=f"builtin:tiny+{COLOURS}",
            device="cpu",
            precision="fp32",
            index="none",
            views=views,
        )
        found[views] = fit(cache=cache, out=folder / f"run-{views}", method="lp", set=["steps=40"]).path
    return found


@pytest.fixture(scope="module")
def files(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("joined-files")
    figures = {
        kind: export_onnx(run=runs["center"], onnx=folder / f"{kind}.onnx", input=kind) for kind in ("pixels", "image")
    }
    return folder, figures


@pytest.fixture
def pictures(photographs):
    return sorted((photographs / "test").rglob("*.png"))


def test_files__answer_as_the_run_does(runs, files, pictures):
    folder, figures = files
    of_run = predict(model=runs["center"], inputs=pictures)
    for kind, tolerance in (("pixels", 1e-4), ("image", 0.01)):
        assert figures[kind]["parity"]["largest_difference"] < 1e-4
        assert figures[kind]["parity"]["source"].startswith("test rows")
        found = predict(model=folder / f"{kind}.onnx", inputs=pictures)
        np.testing.assert_allclose(found.probabilities, of_run.probabilities, atol=tolerance)
    assert figures["image"]["preparation"]["largest_pixel_difference"] <= 1.001
    assert info(target=folder / "pixels.onnx")["inputs"] == [f"pixels (batch, {NUMBERS})"]
    assert info(target=folder / "image.onnx")["inputs"] == ["image (batch, height, width, 3)"]


def test_run__encodes_pictures_as_its_cache_did(runs, photographs):
    run = load_run(runs["center"])
    found = input_features(run, [photographs / "test"], progress=_Silent())
    assert found.features.shape[1] == run.n_features
    np.testing.assert_allclose(np.linalg.norm(found.features, axis=1), 1, atol=1e-3)


class _Silent:
    def update(self, stage, done, total, **figures): ...

    def note(self, message): ...


def test_five_crops__are_those_of_each_encoder(runs, tmp_path, pictures):
    figures = export_onnx(run=runs["five-crop"], onnx=tmp_path / "m.onnx", input="image")
    assert figures["views"] == "five-crop"
    found = predict(model=tmp_path / "m.onnx", inputs=pictures)
    np.testing.assert_allclose(
        found.probabilities, predict(model=runs["five-crop"], inputs=pictures).probabilities, atol=0.01
    )


def test_classifier_and_server__take_pictures_and_rows(files, pictures):
    folder, _ = files
    classifier, served = OnnxClassifier(folder / "pixels.onnx"), ServedModel(folder / "pixels.onnx")
    expected = classifier.predict_proba(pictures)
    rows = np.stack([served.picture_row(picture.read_bytes()) for picture in pictures])
    assert rows.shape == (len(pictures), NUMBERS)
    np.testing.assert_allclose(served.run(rows)["probabilities"], expected, atol=1e-5)
    np.testing.assert_allclose(classifier.predict_proba(rows), expected, atol=1e-5)
    # As docs/encoders.md says: each encoder's (3, H, W), flattened, one behind the other.
    parts = classifier.preprocess.parts
    image = Image.open(pictures[0]).convert("RGB")
    by_hand = [part.normalise(part.to_pixels(image)[None]).reshape(1, -1) for part in parts]
    np.testing.assert_allclose(rows[:1], np.concatenate(by_hand, axis=1), atol=1e-6)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_lower_precision__keeps_what_reads_pixels(runs, tmp_path, precision):
    figures = export_onnx(
        run=runs["center"], onnx=tmp_path / "m.onnx", input="pixels", precision=precision, max_drop=20
    )
    graph = onnx.load(tmp_path / "m.onnx").graph
    kinds = {tensor.data_type for tensor in graph.initializer} | {
        attribute.t.data_type for node in graph.node for attribute in node.attribute if attribute.name == "value"
    }
    assert {"fp16": onnx.TensorProto.FLOAT16, "int8": onnx.TensorProto.INT8}[precision] in kinds
    assert figures["comparison"]["versions"][0]["bytes"] > figures["comparison"]["versions"][1]["bytes"]


def test_published__with_what_prepares_pictures(runs, tmp_path):
    export_onnx(run=runs["center"], triton=tmp_path / "triton", to_hub=tmp_path / "hub", input="pixels")
    [config] = (tmp_path / "triton").rglob("config.pbtxt")
    assert f"dims: [{NUMBERS}]" in config.read_text()
    assert not (tmp_path / "hub" / "preprocessor_config.json").exists()
    assert "pixels for each encoder" in (tmp_path / "hub" / "README.md").read_text()
    described = json.loads((tmp_path / "hub" / "config.json").read_text())["ulfine"]
    assert [part["size"] for part in json.loads(described["preprocess"])["encoders"]] == [[32, 32], [64, 64]]
    with pytest.raises(UsageError, match="five-crop needs --input image"):
        export_onnx(run=runs["center"], onnx=tmp_path / "m.onnx", input="pixels", views="five-crop")


def test_synthetic_pictures__stand_in_where_they_are_gone(runs, tmp_path, monkeypatch):
    from ulfine_cache.errors import UlfineError
    from ulfine_exports.gate.run_rows import RunRows

    def gone(self, rows):
        raise UlfineError("the images are gone")

    monkeypatch.setattr(RunRows, "pictures", gone)
    figures = export_onnx(run=runs["center"], onnx=tmp_path / "m.onnx", input="pixels")
    assert figures["parity"]["source"] == "synthetic rows"
