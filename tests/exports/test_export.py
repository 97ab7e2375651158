"""Exports of real runs: parity on real rows, metadata, the same bytes, and every refusal."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_exports.export import export_onnx
from ulfine_exports.graphs import affine_graph
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_fast.run import load_run


class Notes:
    """A `Progress` that remembers."""

    def __init__(self):
        self.notes, self.steps = [], []

    def update(self, stage, done, total, **figures):
        self.steps.append((stage, done, total))

    def note(self, message):
        self.notes.append(message)


def props(path: Path) -> dict[str, str]:
    return {item.key: item.value for item in onnx.load(path).metadata_props}


def test_export_onnx__features_equal_the_run(feature_run, feature_onnx, feature_cache):
    cache = FeatureCache.open(feature_cache)
    features = cache.features()
    expected = load_run(feature_run).predict_proba(features)
    found = OnnxClassifier(feature_onnx, device="cpu").predict_proba(features)
    assert np.abs(expected - found).max() < 1e-4
    assert len(np.unique(found.argmax(axis=1))) == 4


def test_export_onnx__features_of_any_scale(feature_onnx, feature_cache):
    features = FeatureCache.open(feature_cache).features()[:20]
    classifier = OnnxClassifier(feature_onnx, device="cpu")
    scales = np.geomspace(1e-2, 1e3, 20, dtype=np.float32)[:, None]
    assert np.allclose(classifier.predict_proba(features * scales), classifier.predict_proba(features), atol=1e-4)


def test_export_onnx__figures(feature_run, tmp_path):
    progress = Notes()
    figures = export_onnx(run=feature_run, onnx=tmp_path / "new" / "m.onnx", progress=progress)
    assert (tmp_path / "new" / "m.onnx").stat().st_size == figures["bytes"]
    assert figures["parity"]["largest_difference"] <= figures["parity"]["tolerance"] == 1e-4
    assert figures["parity"]["source"] == "test rows"
    assert figures["parity"]["rows"] == 40
    assert {1, 2, 7} <= set(figures["parity"]["batches"])
    assert figures["opset"] == 20
    assert json.loads(json.dumps(figures)) == figures
    assert progress.steps[-1] == ("exporting", 4, 4)
    assert progress.notes == []
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["m.onnx"]


def test_export_onnx__metadata(feature_onnx, feature_cache):
    cache = FeatureCache.open(feature_cache)
    found = props(feature_onnx)
    assert json.loads(found["class_names"]) == list(cache.class_names) == ["ash", "birch", "cedar", "date palm"]
    assert found["cache_fingerprint"] == cache.fingerprint
    assert (found["method"], found["split"], found["input"], found["opset"]) == ("ulfine", "lt", "features", "20")
    assert set(json.loads(found["logit_parts"])) == {"text", "probe"}
    assert float(found["temperature"]) > 0


def test_export_onnx__same_run_same_bytes(feature_run, feature_onnx, tmp_path):
    export_onnx(run=feature_run, onnx=tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == feature_onnx.read_bytes()


def test_export_onnx__no_paths_of_this_machine(feature_onnx, pixel_onnx):
    for path in (feature_onnx, pixel_onnx):
        content = path.read_bytes()
        for trace in (str(Path.cwd()), str(path.parent), str(Path.home()), ".py"):
            assert trace.encode() not in content


def test_export_onnx__pixels_equal_the_run_on_photographs(pixel_run, pixel_onnx, photographs):
    from ulfine_cache.encoders.encoder import load_encoder

    run = load_run(pixel_run)
    encoder = load_encoder(run.cache, device="cpu", precision="fp32")
    classifier = OnnxClassifier(pixel_onnx, device="cpu")
    files = sorted(photographs.rglob("*.png"))
    pixels = np.stack([classifier.preprocess.to_pixels(_rgb(file)) for file in files])
    expected = run.predict_proba(encoder.encode_images(pixels))
    assert np.abs(classifier.predict_proba(files) - expected).max() < 1e-4
    assert props(pixel_onnx)["parity_source"] == "test rows"
    assert props(pixel_onnx)["weights_hash"] == encoder.weights_hash
    assert props(pixel_onnx)["preprocess"] == encoder.preprocess.to_json()


def _rgb(file):
    from PIL import Image

    return Image.open(file).convert("RGB")


def test_export_onnx__pixels_when_the_photographs_are_gone(pixel_run, photographs, tmp_path):
    """The gate falls back to synthetic pictures and says so."""
    hidden = photographs.with_name("hidden")
    photographs.rename(hidden)
    try:
        progress = Notes()
        figures = export_onnx(run=pixel_run, onnx=tmp_path / "m.onnx", input="pixels", progress=progress)
    finally:
        hidden.rename(photographs)
    assert figures["parity"]["source"] == "synthetic rows"
    assert any("synthetic" in note and "gone" in note for note in progress.notes)
    assert props(tmp_path / "m.onnx")["parity_source"] == "synthetic rows"


def test_export_onnx__features_when_the_cache_is_gone(feature_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(feature_run, run)
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["cache"]["path"] = str(tmp_path / "nowhere")
    (run / "provenance.json").write_text(json.dumps(provenance))
    progress = Notes()
    figures = export_onnx(run=run, onnx=tmp_path / "m.onnx", progress=progress)
    assert figures["parity"]["source"] == "synthetic rows"
    assert any("nowhere is gone" in note for note in progress.notes)


def test_export_onnx__disagreement_writes_nothing(feature_run, tmp_path, monkeypatch):
    build = affine_graph.affine_graph
    monkeypatch.setattr(affine_graph, "affine_graph", lambda weight, *rest: build(weight[:, ::-1], *rest))
    with pytest.raises(UlfineError, match="parity failed, nothing was written"):
        export_onnx(run=feature_run, onnx=tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input": "sound"}, "input='sound' cannot be used: choose features, pixels or image"),
        ({"views": "ten-crop"}, "views='ten-crop' cannot be used: choose auto, center or five-crop"),
        ({"views": "five-crop"}, "needs --input image"),
        ({"precision": "fp8"}, "precision='fp8' cannot be used: choose fp32, fp16 or int8"),
        ({"opset": 11}, "opset=11 cannot be used: choose a number from 18 to 23"),
        ({"opset": "20"}, "opset"),
        ({"onnx": Path("model.pt")}, "must end in .onnx"),
    ],
)
def test_export_onnx__wrong_usage(feature_run, tmp_path, arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        export_onnx(**{"run": feature_run, "onnx": tmp_path / "m.onnx", **arguments})
    assert "\n" not in str(caught.value)


def test_export_onnx__pixels_of_imported_features(feature_run, tmp_path):
    with pytest.raises(UlfineError, match=r"made elsewhere.*--input features"):
        export_onnx(run=feature_run, onnx=tmp_path / "m.onnx", input="pixels")


def test_export_onnx__other_encoder_weights(pixel_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(pixel_run, run)
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["cache"]["weights_hash"] = "0" * 64
    (run / "provenance.json").write_text(json.dumps(provenance))
    with pytest.raises(UlfineError, match="not those that made the cache"):
        export_onnx(run=run, onnx=tmp_path / "m.onnx", input="pixels")
    assert not (tmp_path / "m.onnx").exists()


def test_export_onnx__no_run_and_no_place(feature_run, tmp_path):
    with pytest.raises(UlfineError, match="does not exist"):
        export_onnx(run=tmp_path / "none", onnx=tmp_path / "m.onnx")
    (tmp_path / "d.onnx").mkdir()
    with pytest.raises(UlfineError, match="is a directory"):
        export_onnx(run=feature_run, onnx=tmp_path / "d.onnx")
    (tmp_path / "file").write_text("")
    with pytest.raises(UlfineError, match="cannot create"):
        export_onnx(run=feature_run, onnx=tmp_path / "file" / "m.onnx")


@pytest.mark.parametrize("opset", [18, 23])
def test_export_onnx__other_opsets(feature_run, tmp_path, opset):
    figures = export_onnx(run=feature_run, onnx=tmp_path / "m.onnx", opset=opset)
    assert figures["opset"] == opset
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == opset
