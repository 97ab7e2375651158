"""A threshold on its way from the fit to predictions, the exported graph and the server; and models without one."""

import csv
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_exports.export import export_onnx
from ulfine_exports.info import info
from ulfine_exports.predict import predict
from ulfine_fast.evaluate import evaluate
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache, a run `sure` with a threshold, one without, and both as files."""
    place = tmp_path_factory.mktemp("accepted")
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 60)
    features = generator.normal(size=(4, 16))[labels] + 1.2 * generator.normal(size=(240, 16))
    names = np.array(["ash", "accepted", "cedar", "elm"])
    np.savez(place / "f.npz", features=features.astype(np.float32), labels=labels, class_names=names)
    import_features(file=place / "f.npz", out=place / "cache", index="none")
    make_split(cache=place / "cache", name="lt", labelled_max=20, imbalance=2, test_per_class=30)
    fit(cache=place / "cache", split="lt", out=place / "sure", target_accuracy=0.95)
    fit(cache=place / "cache", split="lt", out=place / "plain")
    for name in ("sure", "plain"):
        export_onnx(run=place / name, onnx=place / f"{name}.onnx")
    return place


def test_fit__the_model_is_the_same(place):
    sure, plain = load_run(place / "sure"), load_run(place / "plain")
    assert plain.threshold is None
    assert "acceptance" not in plain.metrics
    figures = sure.metrics["acceptance"]
    assert sure.threshold == figures["threshold"]
    assert sure.threshold is not None and 0.3 < sure.threshold < 1
    assert 0 < figures["accepted"] < figures["rows"]
    assert figures["test"]["accuracy"] > sure.metrics["accuracy"]
    assert evaluate(run=place / "sure")["acceptance"] == figures
    assert "acceptance" not in evaluate(run=place / "plain")
    assert "acceptance" not in evaluate(run=place / "sure", test_prior="labelled")


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_fit__unlabelled_rows_are_predicted(place):
    header, *rows = lines(place / "sure" / "unlabelled.csv")
    cache, threshold = FeatureCache.open(place / "cache"), load_run(place / "sure").threshold
    unlabelled = cache.read_split("lt").unlabelled
    assert header == ["path", "label", "confidence", "accepted"]
    assert [row[0] for row in rows] == cache.paths_of(unlabelled)
    table = load_run(place / "sure").predict_proba(cache.features(unlabelled))
    assert [row[1] for row in rows] == [cache.class_names[k] for k in table.argmax(1)]
    assert [row[3] == "yes" for row in rows] == (table.max(1) >= threshold).tolist()
    assert lines(place / "plain" / "unlabelled.csv")[0] == ["path", "label", "confidence"]


@pytest.mark.parametrize("model", ["sure", "sure.onnx"])
def test_predict__says_what_is_accepted(place, tmp_path, model):
    found = predict(model=place / model, inputs=[place / "cache"], out=tmp_path / "p.csv")
    threshold = load_run(place / "sure").threshold
    assert found.accepted is not None
    assert found.accepted.tolist() == (found.confidences >= threshold).tolist()
    assert 0 < found.accepted.sum() < 240
    figures = found.figures()
    assert (figures["threshold"], figures["accepted"]) == (threshold, int(found.accepted.sum()))
    assert [entry["accepted"] for entry in figures["predictions"]] == found.accepted.tolist()
    header, *rows = lines(tmp_path / "p.csv")
    assert header == ["path", "label", "confidence", "accepted", "ash", "class accepted", "cedar", "elm"]
    assert [row[3] == "yes" for row in rows] == found.accepted.tolist()
    under = predict(model=place / model, inputs=[place / "cache"], test_prior="labelled")
    assert under.accepted is None


@pytest.mark.parametrize("model", ["plain", "plain.onnx"])
def test_predict__without_a_threshold_is_as_before(place, tmp_path, model):
    found = predict(model=place / model, inputs=[place / "cache"], out=tmp_path / "p.csv")
    assert found.accepted is None
    assert not {"threshold", "accepted"} & set(found.figures())
    assert lines(tmp_path / "p.csv")[0] == ["path", "label", "confidence", "ash", "accepted", "cedar", "elm"]


def test_export__without_a_threshold_says_nothing_of_it(place):
    told = info(target=place / "plain.onnx")
    assert not [name for name in told if "acceptance" in name]
    assert len(told["outputs"]) == 2


def test_predict__parquet(place, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    found = predict(model=place / "sure", inputs=[place / "cache"], out=tmp_path / "p.parquet")
    assert parquet.read_table(tmp_path / "p.parquet")["accepted"].to_pylist() == found.accepted.tolist()


@pytest.mark.parametrize("size", [1, 2, 50])
def test_export__graph_says_what_is_accepted(place, size):
    session = onnxruntime.InferenceSession(place / "sure.onnx", providers=["CPUExecutionProvider"])
    features = FeatureCache.open(place / "cache").features(np.arange(size))
    probabilities, accepted = session.run(["probabilities", "accepted"], {"features": features})
    assert accepted.dtype == bool
    assert accepted.shape == (size,)
    assert accepted.tolist() == (probabilities.max(1) >= np.float32(load_run(place / "sure").threshold)).tolist()
    metadata = session.get_modelmeta().custom_metadata_map
    assert float(metadata["acceptance_threshold"]) == load_run(place / "sure").threshold
    assert float(metadata["acceptance_target"]) == 0.95


def test_export__under_a_test_prior_there_is_no_threshold(place, tmp_path):
    found = export_onnx(run=place / "sure", onnx=tmp_path / "m.onnx", test_prior="labelled")
    assert found["outputs"] == ["probabilities", "logits"]
    assert predict(model=tmp_path / "m.onnx", inputs=[place / "cache"]).accepted is None


def test_export__triton(place, tmp_path):
    export_onnx(run=place / "sure", triton=tmp_path)
    (config,) = tmp_path.rglob("config.pbtxt")
    assert 'name: "accepted" data_type: TYPE_BOOL dims: [1] reshape { shape: [] }' in config.read_text()


def test_fit__a_method_that_leaves_nothing_out(place, tmp_path):
    run = fit(cache=place / "cache", split="lt", out=tmp_path / "run", method="knn", target_accuracy=0.9)
    assert run.metrics["acceptance"] is None
    assert run.threshold is None
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["acceptance"] is None


def test_metadata__damaged_threshold(place, tmp_path):
    from ulfine_exports.metadata import ExportMetadata

    props = ExportMetadata(input="features", class_names=("a", "b"), n_features=2).to_props()
    assert "acceptance_threshold" not in props
    with pytest.raises(UlfineError, match="damaged"):
        ExportMetadata.from_props({**props, "acceptance_threshold": "nan"}, "m.onnx")
