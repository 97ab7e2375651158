"""A run with a class that its cache does not have leaves as one file like any other."""

import numpy as np
import pytest

from ulfine_cache.feature_cache import FeatureCache
from ulfine_exports.export import export_onnx
from ulfine_exports.info import info
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.predict import predict
from ulfine_fast.evaluate import evaluate
from ulfine_fast.fitting import fit


@pytest.fixture
def run(pixel_run, tmp_path):
    """Circles of the upper half of the numbers are rings."""
    cache = pixel_run.parent / "cache"
    rings = [path for path in FeatureCache.open(cache).paths if "circle" in path and int(path[-5]) >= 4]
    (tmp_path / "labels.csv").write_text("".join(["path,label\n", *(f"{path},ring\n" for path in rings)]))
    return fit(cache=cache, out=tmp_path / "run", apply=tmp_path / "labels.csv")


def test_run_with_a_new_class(run, pixel_run, photographs, tmp_path):
    assert run.class_names == ("circle", "square", "triangle", "ring")
    assert run.labelled_counts == (4, 8, 8, 4)
    figures = export_onnx(run=run.path, onnx=tmp_path / "m.onnx", input="pixels", precision="int8")
    assert figures["classes"] == 4
    assert OnnxClassifier(tmp_path / "m.onnx").class_names == run.class_names
    assert info(target=run.path)["classes"] == 4
    export_onnx(run=run.path, onnx=tmp_path / "f.onnx")
    by_run = predict(model=run.path, inputs=[pixel_run.parent / "cache"], out=tmp_path / "p.csv")
    by_file = predict(model=tmp_path / "f.onnx", inputs=[pixel_run.parent / "cache"])
    assert np.abs(by_run.probabilities - by_file.probabilities).max() < 1e-4
    assert (tmp_path / "p.csv").read_text().startswith("path,label,confidence,circle,square,triangle,ring\n")
    assert predict(model=run.path, inputs=[photographs / "test"]).class_names == run.class_names
    for prior in ("labelled", "estimate"):
        assert evaluate(run=run.path, test_prior=prior)["test_rows"] == 12
    assert set(evaluate(run=run.path, test_prior="labelled")["class_prior"]) == set(run.class_names)


def test_export_under_the_prior_of_the_rows(run, tmp_path):
    export_onnx(run=run.path, onnx=tmp_path / "m.onnx", test_prior="labelled")
    assert OnnxClassifier(tmp_path / "m.onnx").class_names == run.class_names
