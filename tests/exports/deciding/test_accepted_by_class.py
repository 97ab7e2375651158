"""A threshold for each class on its way from the fit to predictions, the exported graph, folders and the page."""

import csv
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_exports.export import export_onnx
from ulfine_exports.info import info
from ulfine_exports.metadata import ExportMetadata
from ulfine_exports.predict import predict
from ulfine_fast.evaluate import evaluate
from ulfine_fast.fitting import fit
from ulfine_fast.judging.accepted_rows import accepted_rows
from ulfine_fast.run import load_run

NAMES = ("ash", "birch", "cedar", "elm")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache, a run with a threshold for each class, and its file; elms have too few images for one."""
    place = tmp_path_factory.mktemp("by-class")
    generator = np.random.default_rng(2)
    labels = np.repeat(np.arange(4), 120)
    features = generator.normal(size=(4, 16))[labels] + 1.6 * generator.normal(size=(480, 16))
    np.savez(place / "f.npz", features=features.astype(np.float32), labels=labels, class_names=np.array(NAMES))
    import_features(file=place / "f.npz", out=place / "cache", index="none")
    make_split(cache=place / "cache", name="lt", labelled_max=60, imbalance=12, test_per_class=40)
    asked = {"cache": place / "cache", "split": "lt", "target_accuracy": 0.9}
    fit(**asked, out=place / "run", accept_by="class")
    fit(**asked, out=place / "all")
    export_onnx(run=place / "run", onnx=place / "run.onnx")
    return place


def test_fit__says_which_classes_have_their_own(place):
    run, plain = load_run(place / "run"), load_run(place / "all")
    entries = run.metrics["acceptance"]["by_class"]
    assert run.class_thresholds == tuple(entry["threshold"] for entry in entries)
    assert run.threshold == plain.threshold
    assert plain.class_thresholds is None
    judged = [entry["judged"] for entry in entries]
    assert True in judged and False in judged
    assert len({entry["threshold"] for entry in entries}) > 1
    for entry in entries:
        assert entry["judged"] == (entry["answers"] >= run.metrics["acceptance"]["answers_to_judge"])
        assert entry["judged"] or entry["threshold"] == run.threshold
    assert evaluate(run=place / "run")["acceptance"] == run.metrics["acceptance"]


def test_fit__by_class_needs_a_target(place, tmp_path):
    with pytest.raises(UsageError, match="--target-accuracy"):
        fit(cache=place / "cache", split="lt", out=tmp_path / "run", accept_by="class")


def test_run__damaged_thresholds_are_none(place):
    """Of other numbers of classes, or of a former run."""
    run = load_run(place / "run")
    acceptance = {**run.metrics["acceptance"], "by_class": run.metrics["acceptance"]["by_class"][:2]}
    run.metrics["acceptance"] = acceptance
    assert run.class_thresholds is None
    assert run.threshold is not None


@pytest.mark.parametrize("model", ["run", "run.onnx"])
def test_predict__by_class(place, tmp_path, model):
    found = predict(model=place / model, inputs=[place / "cache"], out=tmp_path / "p.csv")
    thresholds = dict(zip(NAMES, load_run(place / "run").class_thresholds, strict=True))
    answers = zip(found.labels, found.confidences, strict=True)
    expected = [bool(value >= np.float32(thresholds[label])) for label, value in answers]
    assert found.accepted is not None
    assert found.accepted.tolist() == expected
    # It matters here which threshold is taken.
    assert expected != (found.confidences >= load_run(place / "run").threshold).tolist()
    figures = found.figures()
    assert (figures["class_thresholds"], figures["accepted"]) == (thresholds, sum(expected))
    with (tmp_path / "p.csv").open(encoding="utf-8", newline="") as file:
        assert [row["accepted"] == "yes" for row in csv.DictReader(file)] == expected
    under = predict(model=place / model, inputs=[place / "cache"], test_prior="labelled")
    assert (under.accepted, under.class_thresholds) == (None, None)


def test_predict__parquet(place, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    found = predict(model=place / "run", inputs=[place / "cache"], out=tmp_path / "p.parquet")
    assert found.accepted is not None
    assert parquet.read_table(tmp_path / "p.parquet")["accepted"].to_pylist() == found.accepted.tolist()


def test_fit__unlabelled_rows(place):
    cache, run = FeatureCache.open(place / "cache"), load_run(place / "run")
    table = run.predict_proba(cache.features(cache.read_split("lt").unlabelled))
    with (place / "run" / "unlabelled.csv").open(encoding="utf-8", newline="") as file:
        marks = [row["accepted"] == "yes" for row in csv.DictReader(file)]
    assert marks == accepted_rows(table, run.class_thresholds).tolist()


@pytest.mark.parametrize("size", [1, 480])
def test_export__graph_accepts_as_torch_does(place, size):
    session = onnxruntime.InferenceSession(place / "run.onnx", providers=["CPUExecutionProvider"])
    features = FeatureCache.open(place / "cache").features(np.arange(size))
    probabilities, accepted = session.run(["probabilities", "accepted"], {"features": features})
    run = load_run(place / "run")
    assert (accepted.dtype, accepted.shape) == (np.dtype(bool), (size,))
    assert accepted.tolist() == accepted_rows(probabilities, run.class_thresholds).tolist()
    assert accepted.tolist() == accepted_rows(run.predict_proba(features), run.class_thresholds).tolist()
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["acceptance_class_thresholds"]) == list(run.class_thresholds)
    assert float(metadata["acceptance_threshold"]) == run.threshold


def test_export__under_a_test_prior_and_for_triton(place, tmp_path):
    found = export_onnx(run=place / "run", onnx=tmp_path / "m.onnx", test_prior="labelled")
    assert found["outputs"] == ["probabilities", "logits"]
    assert "acceptance_class_thresholds" not in info(target=tmp_path / "m.onnx")
    export_onnx(run=place / "run", triton=tmp_path / "triton")
    (config,) = (tmp_path / "triton").rglob("config.pbtxt")
    assert 'name: "accepted" data_type: TYPE_BOOL dims: [1] reshape { shape: [] }' in config.read_text()


@pytest.mark.parametrize(
    "damage",
    ["[0.5]", "[0.5, 3]", '["a", 1]', "[0.5, NaN]", "0.5", "{", None],
    ids=["too few", "no share", "a name", "no number", "no list", "no json", "alone"],
)
def test_metadata__damaged_class_thresholds(damage):
    props = ExportMetadata(
        input="features",
        class_names=("a", "b"),
        n_features=2,
        acceptance_threshold=0.5,
        acceptance_class_thresholds=(0.5, 2.0),
    ).to_props()
    assert ExportMetadata.from_props(props, "m.onnx").thresholds == (0.5, 2.0)
    if damage is None:
        del props["acceptance_threshold"]
    else:
        props["acceptance_class_thresholds"] = damage
    with pytest.raises(UlfineError, match="damaged"):
        ExportMetadata.from_props(props, "m.onnx")


def test_metadata__of_files_with_one_threshold(place):
    props = ExportMetadata(input="features", class_names=("a", "b"), n_features=2, acceptance_threshold=0.5).to_props()
    assert "acceptance_class_thresholds" not in props
    assert ExportMetadata.from_props(props, "m.onnx").thresholds == 0.5
    assert "acceptance_class_thresholds" in info(target=place / "run.onnx")
