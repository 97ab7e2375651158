"""An outlier score on its way from the fit to predictions, exported graphs and folders; and models without one."""

import csv
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_exports.export import export_onnx
from ulfine_exports.graphs.outlier_output import add_outlier_score
from ulfine_exports.info import info
from ulfine_exports.metadata import ExportMetadata
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.predict import predict
from ulfine_fast.fitting import fit
from ulfine_fast.join import join
from ulfine_fast.judging.outlier_score import OutlierScale, outlier_scores
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of four classes, features of two others, a run that scores them, and its file."""
    place = tmp_path_factory.mktemp("outliers")
    generator = np.random.default_rng(0)
    centres, labels = generator.normal(size=(6, 16)), np.repeat(np.arange(6), 60)
    features = (centres[labels] + 0.5 * generator.normal(size=(360, 16))).astype(np.float32)
    names, known = np.array(["ash", "outlier_score", "cedar", "elm"]), labels < 4
    np.savez(place / "f.npz", features=features[known], labels=labels[known], class_names=names)
    np.savez(place / "others.npz", features=features[~known])
    import_features(file=place / "f.npz", out=place / "cache", index="none")
    make_split(cache=place / "cache", name="lt", labelled_max=20, imbalance=2, test_per_class=30)
    fit(cache=place / "cache", split="lt", out=place / "run", outlier_score=True)
    export_onnx(run=place / "run", onnx=place / "run.onnx")
    return place


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_fit__the_model_is_the_same_and_the_scale_is_kept(place, tmp_path):
    plain = fit(cache=place / "cache", split="lt", out=tmp_path / "plain")
    assert "outlier_score" not in plain.metrics
    assert load_run(tmp_path / "plain").outlier_scores(np.ones((2, 16))) is None
    run = load_run(place / "run")
    for name, tensor in plain.model.state_dict().items():
        assert run.model.state_dict()[name].equal(tensor)
    figures = run.metrics["outlier_score"]
    assert run.outlier_scale == OutlierScale(figures["middle"], figures["threshold"])
    assert (figures["known_share"], figures["test"]["rows"]) == (0.95, 120)
    cache = FeatureCache.open(place / "cache")
    tested = run.outlier_scores(cache.features(cache.read_split("lt").test))
    assert tested is not None
    assert figures["test"]["above"] == (tested > 1).sum() < 24


def test_predict__strangers_are_above_one(place):
    for inputs, least, most in (("others.npz", 0.7, 1.0), ("cache", 0.0, 0.2)):
        scores = predict(model=place / "run", inputs=[place / inputs]).outlier_scores
        assert scores is not None
        assert least <= (scores > 1).mean() <= most


def test_fit__unlabelled_rows_have_the_score(place):
    header, *rows = lines(place / "run" / "unlabelled.csv")
    assert header == ["path", "label", "confidence", "outlier_score"]
    cache = FeatureCache.open(place / "cache")
    expected = load_run(place / "run").outlier_scores(cache.features(cache.read_split("lt").unlabelled))
    assert [float(row[3]) for row in rows] == pytest.approx(expected.tolist(), abs=1e-4)


@pytest.mark.parametrize("model", ["run", "run.onnx"])
def test_predict__gives_the_score(place, tmp_path, model):
    found = predict(model=place / model, inputs=[place / "cache"], out=tmp_path / "p.csv")
    expected = load_run(place / "run").outlier_scores(FeatureCache.open(place / "cache").features(np.arange(240)))
    assert found.outlier_scores is not None and expected is not None
    assert found.outlier_scores == pytest.approx(expected, abs=1e-4)
    assert np.ptp(expected) > 0.5
    figures = found.figures()
    assert figures["outliers"] == (expected > 1).sum()
    assert [entry["outlier_score"] for entry in figures["predictions"]] == found.outlier_scores.tolist()
    header, *rows = lines(tmp_path / "p.csv")
    fixed = ["path", "label", "confidence", "outlier_score"]
    assert header == [*fixed, "ash", "class outlier_score", "cedar", "elm"]
    assert [float(row[3]) for row in rows] == pytest.approx(expected.tolist(), abs=1e-4)
    # The score is about the picture and not about how frequent classes are.
    under = predict(model=place / model, inputs=[place / "cache"], test_prior="labelled")
    assert under.outlier_scores == pytest.approx(expected, abs=1e-4)


def test_predict__parquet(place, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    found = predict(model=place / "run.onnx", inputs=[place / "cache"], out=tmp_path / "p.parquet")
    assert parquet.read_table(tmp_path / "p.parquet")["outlier_score"].to_pylist() == found.outlier_scores.tolist()


@pytest.mark.parametrize("size", [1, 2, 50])
def test_export__graph_says_what_the_run_says(place, size):
    session = onnxruntime.InferenceSession(place / "run.onnx", providers=["CPUExecutionProvider"])
    features = FeatureCache.open(place / "cache").features(np.arange(size))
    logits, scores = session.run(["logits", "outlier_score"], {"features": features})
    assert (scores.dtype, scores.shape) == (np.float32, (size,))
    run = load_run(place / "run")
    assert scores == pytest.approx(outlier_scores(logits, run.outlier_scale), abs=1e-5)
    assert scores == pytest.approx(run.outlier_scores(features), abs=1e-4)


def test_export__with_a_threshold_as_well_and_in_every_precision(place, tmp_path):
    fit(cache=place / "cache", split="lt", out=tmp_path / "run", outlier_score=True, target_accuracy=0.9)
    features = FeatureCache.open(place / "cache").features(np.arange(60))
    expected = load_run(tmp_path / "run").outlier_scores(features)
    for precision, tolerance in (("fp32", 1e-4), ("fp16", 0.05), ("int8", 0.2)):
        told = export_onnx(run=tmp_path / "run", onnx=tmp_path / "m.onnx", precision=precision, max_drop=100.0)
        assert told["outputs"] == ["probabilities", "logits", "accepted", "outlier_score"]
        assert OnnxClassifier(tmp_path / "m.onnx").outlier_scores(features) == pytest.approx(expected, abs=tolerance)
    header = lines(predict(model=tmp_path / "m.onnx", inputs=[place / "cache"], out=tmp_path / "p.csv").out)[0]
    assert header[:5] == ["path", "label", "confidence", "accepted", "outlier_score"]


def test_export__of_several_encoders(place, tmp_path):
    with np.load(place / "f.npz") as file:
        arrays = dict(file)
    parts = []
    for number in range(2):
        noise = np.random.default_rng(number).normal(size=arrays["features"].shape)
        np.savez(tmp_path / f"{number}.npz", **{**arrays, "features": arrays["features"] + 0.5 * noise})
        parts.append(tmp_path / f"cache{number}")
        import_features(file=tmp_path / f"{number}.npz", out=parts[-1], index="none")
    join(caches=parts, out=tmp_path / "joined")
    make_split(cache=tmp_path / "joined", name="lt", labelled_max=20, imbalance=2, test_per_class=30)
    run = fit(cache=tmp_path / "joined", split="lt", out=tmp_path / "run", outlier_score=True)
    assert run.metrics["outlier_score"]["test"]["above"] < 24
    export_onnx(run=tmp_path / "run", onnx=tmp_path / "m.onnx")
    scores = [
        predict(model=model, inputs=[tmp_path / "joined"]).outlier_scores for model in (run.path, tmp_path / "m.onnx")
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_export__triton_info_and_metadata(place, tmp_path):
    export_onnx(run=place / "run", triton=tmp_path)
    (config,) = tmp_path.rglob("config.pbtxt")
    assert 'name: "outlier_score" data_type: TYPE_FP32 dims: [1] reshape { shape: [] }' in config.read_text()
    told = info(target=place / "run.onnx")
    assert told["outputs"] == ["probabilities (batch, 4)", "logits (batch, 4)", "outlier_score (batch)"]
    assert told["outlier_known_share"] == 0.95
    onnx.checker.check_model(onnx.load(place / "run.onnx"), full_check=True)


def test_export__under_a_test_prior_there_is_no_score(place, tmp_path):
    found = export_onnx(run=place / "run", onnx=tmp_path / "m.onnx", test_prior="labelled")
    assert found["outputs"] == ["probabilities", "logits"]
    assert predict(model=tmp_path / "m.onnx", inputs=[place / "cache"]).outlier_scores is None
    assert OnnxClassifier(tmp_path / "m.onnx").outlier_scores(np.ones((1, 16))) is None
    assert "outlier_known_share" not in info(target=tmp_path / "m.onnx")


def test_fit__a_method_that_leaves_nothing_out(place, tmp_path):
    run = fit(cache=place / "cache", split="lt", out=tmp_path / "run", method="knn", outlier_score=True)
    assert run.metrics["outlier_score"] is None
    assert load_run(tmp_path / "run").outlier_scale is None
    assert "outlier_score" not in export_onnx(run=tmp_path / "run", onnx=tmp_path / "m.onnx")["outputs"]


def test_predict__a_file_whose_output_is_gone_or_of_another_shape(place, tmp_path):
    model = onnx.load(place / "run.onnx")
    kept = [item for item in model.metadata_props if item.key != "content_sha256"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    (score,) = [item for item in model.graph.output if item.name == "outlier_score"]
    model.graph.output.remove(score)
    onnx.save(model, tmp_path / "gone.onnx")
    with pytest.raises(UlfineError, match="has no output 'outlier_score', which its metadata name: export it again"):
        predict(model=tmp_path / "gone.onnx", inputs=[place / "cache"])
    (node,) = [node for node in model.graph.node if node.op_type == "ReduceLogSumExp"]
    node.attribute[0].i = 1
    model.graph.output.append(onnx.helper.make_tensor_value_info("outlier_score", 1, None))
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(UlfineError, match=r"gives outlier_score of shape \('batch', 1\): export it again"):
        predict(model=tmp_path / "other.onnx", inputs=[place / "cache"])


def test_metadata__damaged_share():
    props = ExportMetadata(input="features", class_names=("a", "b"), n_features=2).to_props()
    assert "outlier_known_share" not in props
    with pytest.raises(UlfineError, match="damaged"):
        ExportMetadata.from_props({**props, "outlier_known_share": "nan"}, "m.onnx")


def test_add_outlier_score__of_a_fixed_batch(place):
    model = onnx.load(place / "run.onnx")
    del model.graph.output[2:]
    del model.graph.node[-3:]
    shape = next(item for item in model.graph.output if item.name == "logits").type.tensor_type.shape
    shape.dim[0].dim_value = 3
    added = add_outlier_score(model, OutlierScale(0.0, 1.0)).graph.output[-1]
    assert [size.dim_value for size in added.type.tensor_type.shape.dim] == [3]


def test_load_run__a_run_copied_elsewhere_still_scores(place, tmp_path):
    shutil.copytree(place / "run", tmp_path / "moved")
    assert load_run(tmp_path / "moved").outlier_scale == load_run(place / "run").outlier_scale
