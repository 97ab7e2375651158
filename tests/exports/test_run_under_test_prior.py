"""A test prior gives the same answers in a run, beside an exported file and inside of it."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.splits import make_split
from ulfine_exports.export import export_onnx
from ulfine_exports.metadata import ExportMetadata
from ulfine_exports.predict import predict
from ulfine_fast.evaluate import evaluate
from ulfine_fast.fitting import fit
from ulfine_fast.priors.class_prior import estimate_prior, prior_shift
from ulfine_fast.run import load_run

WEIGHTS = {"ash": 1, "birch": 0, "cedar": 5, "date palm": 14}


def metadata(path: Path) -> ExportMetadata:
    return ExportMetadata.from_props({item.key: item.value for item in onnx.load(path).metadata_props}, path.name)


@pytest.fixture(scope="module")
def probe(feature_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain probe: its logits answer for the labelled frequencies."""
    return fit(cache=feature_cache, out=tmp_path_factory.mktemp("prior") / "probe", split="lt", method="lp").path


@pytest.fixture(scope="module")
def weights(probe: Path) -> Path:
    path = probe.parent / "weights.csv"
    path.write_text("class,weight\n" + "".join(f"{name},{value}\n" for name, value in WEIGHTS.items()), "utf-8")
    return path


@pytest.fixture(scope="module")
def exported(probe: Path, weights: Path) -> dict[str, Path]:
    """The probe as it was fitted, and with each prior inside."""
    paths = {"": probe.parent / "probe.onnx"}
    export_onnx(run=probe, onnx=paths[""])
    for option in ("uniform", "labelled", "estimate", str(weights)):
        paths[option] = probe.parent / f"probe-{len(paths)}.onnx"
        export_onnx(run=probe, onnx=paths[option], test_prior=option)
    return paths


def test_predict__no_option_is_the_model_as_fitted(probe, exported, feature_cache):
    found = predict(model=probe, inputs=[feature_cache])
    expected = load_run(probe).predict_proba(FeatureCache.open(feature_cache).features())
    np.testing.assert_array_equal(found.probabilities, expected)
    assert not {"test_prior", "class_prior"} & found.figures().keys()
    assert not {"test_prior", "class_prior"} & export_onnx(run=probe, onnx=exported[""]).keys()


@pytest.mark.parametrize("option", ["uniform", "labelled", "estimate", "FILE"])
def test_predict__run_and_files_agree(probe, exported, weights, feature_cache, option):
    option = str(weights) if option == "FILE" else option
    by_run = predict(model=probe, inputs=[feature_cache], test_prior=option)
    # From whatever prior is inside.
    for inside, path in exported.items():
        by_file = predict(model=path, inputs=[feature_cache], test_prior=option)
        assert np.abs(by_file.probabilities - by_run.probabilities).max() < 1e-4, inside
        assert by_file.test_prior == by_run.test_prior == ("file" if option == str(weights) else option)
        np.testing.assert_allclose(by_file.class_prior, by_run.class_prior, atol=1e-5)
    if option != "estimate":  # which inside was made from other rows
        inside = predict(model=exported[option], inputs=[feature_cache])
        assert np.abs(inside.probabilities - by_run.probabilities).max() < 1e-4


def test_predict__is_bayes_rule(probe, weights, feature_cache):
    run = load_run(probe)
    counts = np.array(run.labelled_counts)
    target = np.array([WEIGHTS[name] for name in run.class_names])
    joint = run.predict_proba(FeatureCache.open(feature_cache).features()).astype(float) * target / counts
    found = predict(model=probe, inputs=[feature_cache], test_prior=str(weights))
    np.testing.assert_allclose(found.probabilities, joint / joint.sum(axis=1, keepdims=True), atol=1e-5)
    assert "birch" not in found.labels
    assert found.labels != predict(model=probe, inputs=[feature_cache]).labels
    shares = found.figures()["class_prior"]
    assert shares == pytest.approx({name: value / 20 for name, value in WEIGHTS.items()})


def test_predict__estimate_of_a_single_row_says_what_it_is_worth(exported, feature_cache, tmp_path):
    class Notes:
        said: str = ""

        def update(self, *_, **__):
            pass

        def note(self, message):
            self.said += message

    notes = Notes()
    np.savez(tmp_path / "one.npz", features=FeatureCache.open(feature_cache).features()[:1])
    found = predict(model=exported["uniform"], inputs=[tmp_path / "one.npz"], test_prior="estimate", progress=notes)
    assert "estimated from 1 inputs for 4 classes" in notes.said
    plain = predict(model=exported["uniform"], inputs=[tmp_path / "one.npz"])
    assert np.abs(found.probabilities - plain.probabilities).max() < 0.05


def test_predict__bad_priors_are_refused_before_anything_runs(probe, exported, feature_cache, tmp_path):
    for model in (probe, exported[""]):
        with pytest.raises(UsageError, match="no test prior 'often'"):
            predict(model=model, inputs=[tmp_path / "none.png"], test_prior="often")


def test_predict__file_from_before_priors_were_recorded(exported, feature_cache, tmp_path):
    model = onnx.load(exported[""])
    new = ("class_prior", "labelled_counts", "test_prior", "content_sha256")
    kept = [item for item in model.metadata_props if item.key not in new]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tmp_path / "old.onnx")
    assert len(predict(model=tmp_path / "old.onnx", inputs=[feature_cache]).paths) == 200
    with pytest.raises(UlfineError, match=r"old.onnx does not record which class prior .*: export the run again"):
        predict(model=tmp_path / "old.onnx", inputs=[feature_cache], test_prior="uniform")


def test_predict__file_without_torch(exported, feature_file):
    code = (
        "import sys\nfrom pathlib import Path\nfrom ulfine_exports.predict import predict\n"
        f"predict(model=Path({str(exported[''])!r}), inputs=[Path({str(feature_file)!r})], test_prior='estimate')\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_export_onnx__records_which_prior_is_inside(exported, probe, weights):
    run = load_run(probe)
    counts = np.array(run.labelled_counts)
    assert metadata(exported[""]).test_prior == ""
    np.testing.assert_allclose(metadata(exported[""]).class_prior, counts / counts.sum())
    assert metadata(exported["uniform"]).class_prior == (0.25,) * 4
    assert metadata(exported["uniform"]).test_prior == "uniform"
    assert metadata(exported[str(weights)]).test_prior == "file"
    assert metadata(exported[str(weights)]).class_prior == pytest.approx([0.05, 0, 0.25, 0.7])
    assert all(metadata(path).labelled_counts == run.labelled_counts for path in exported.values())
    assert str(weights).encode() not in exported[str(weights)].read_bytes()


def test_export_onnx__bias_is_folded_into_the_graph(exported, weights):
    """The same nodes and weights; the bias alone differs, by the shift."""
    plain, moved = (onnx.load(exported[option]) for option in ("", str(weights)))
    assert [node.SerializeToString() for node in plain.graph.node] == [
        node.SerializeToString() for node in moved.graph.node
    ]
    before, after = (
        {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer} for model in (plain, moved)
    )
    np.testing.assert_array_equal(before["weight"], after["weight"])
    shift = prior_shift(*(np.array(metadata(exported[option]).class_prior) for option in (str(weights), "")))
    np.testing.assert_allclose(after["bias"] - before["bias"], shift, rtol=1e-5)


def test_export_onnx__estimates_from_the_unlabelled_rows(exported, probe, feature_cache):
    run, cache = load_run(probe), FeatureCache.open(feature_cache)
    rows = cache.read_split("lt").unlabelled
    logits = np.log(run.predict_proba(cache.features(rows)))
    expected = estimate_prior(logits, run.answered_prior())
    found = metadata(exported["estimate"])
    np.testing.assert_allclose(found.class_prior, expected, atol=1e-5)
    assert found.test_prior == "estimate"


@pytest.fixture
def moved(feature_cache: Path, tmp_path: Path) -> Path:
    shutil.copytree(feature_cache, tmp_path / "cache")
    return tmp_path / "cache"


def test_export_onnx__estimates_from_the_rows_of_the_fit_though_the_split_was_drawn_anew(moved, tmp_path):
    run = fit(cache=moved, out=tmp_path / "run", split="lt", method="zero-shot").path
    export_onnx(run=run, onnx=tmp_path / "a.onnx", test_prior="estimate")
    (moved / "splits" / "lt.h5").unlink()
    make_split(cache=moved, name="lt", labelled_max=8, imbalance=2.0, unlabelled="uniform", seed=5)
    export_onnx(run=run, onnx=tmp_path / "b.onnx", test_prior="estimate")
    assert metadata(tmp_path / "a.onnx").class_prior == metadata(tmp_path / "b.onnx").class_prior


def test_export_onnx__nothing_to_estimate_from(moved, clusters_saved, tmp_path):
    remedy = "give the prior as --test-prior FILE, or estimate it where the file is used"
    run = fit(cache=moved, out=tmp_path / "run", method="zero-shot").path
    with pytest.raises(UlfineError, match=f"was fitted without unlabelled rows to estimate the prior from: {remedy}"):
        export_onnx(run=run, onnx=tmp_path / "m.onnx", test_prior="estimate")
    with pytest.raises(UlfineError, match=rf"was not fitted on a cache\): {remedy}"):
        export_onnx(run=clusters_saved, onnx=tmp_path / "m.onnx", test_prior="estimate")
    moved.rename(tmp_path / "elsewhere")
    with pytest.raises(UlfineError, match=rf"the cache .* is gone\): {remedy}"):
        export_onnx(run=run, onnx=tmp_path / "m.onnx", test_prior="estimate")
    assert not (tmp_path / "m.onnx").exists()
    # What needs no rows still works.
    export_onnx(run=run, onnx=tmp_path / "m.onnx", test_prior="labelled")


@pytest.fixture
def clusters_saved(feature_file: Path, tmp_path: Path) -> Path:
    from ulfine_fast.estimator import ULFineClassifier

    with np.load(feature_file) as file:
        features, labels = file["features"], file["labels"]
    return ULFineClassifier("lp").fit(features, labels).save(tmp_path / "saved").path


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_export_onnx__lower_precision_is_judged_under_the_prior(probe, weights, tmp_path, precision):
    figures = export_onnx(
        run=probe, onnx=tmp_path / "m.onnx", precision=precision, test_prior=str(weights), max_drop=5.0
    )
    judged = figures["comparison"]["versions"][0]
    assert judged["accuracy"] == pytest.approx(evaluate(run=probe, test_prior=str(weights))["accuracy"])
    assert judged["accuracy"] != pytest.approx(evaluate(run=probe)["accuracy"])


@pytest.mark.parametrize(("input", "views"), [("pixels", "center"), ("image", "center"), ("image", "five-crop")])
def test_export_onnx__images(pixel_run, photographs, tmp_path, input, views):
    path, test = tmp_path / "m.onnx", photographs / "test"
    (tmp_path / "w.csv").write_text("class,weight\ncircle,8\nsquare,1\ntriangle,1\n", "utf-8")
    option = str(tmp_path / "w.csv")
    # Preprocessing inside an image graph differs a little from Pillow's.
    tolerance = 1e-4 if input == "pixels" else 1e-2
    export_onnx(run=pixel_run, onnx=path, input=input, views=views, test_prior=option)
    inside = predict(model=path, inputs=[test]).probabilities
    by_run = predict(model=pixel_run, inputs=[test], views=views, test_prior=option).probabilities
    assert np.abs(inside - by_run).max() < tolerance
    back = predict(model=path, inputs=[test], test_prior="uniform").probabilities
    plain = predict(model=pixel_run, inputs=[test], views=views, test_prior="uniform").probabilities
    assert np.abs(back - plain).max() < tolerance
    odds = (inside[:, 0] / inside[:, 1]) / (back[:, 0] / back[:, 1])
    np.testing.assert_allclose(odds, 8.0, rtol=1e-3)


def test_export_onnx__parts_stay_as_they_were_fitted(pixel_run, tmp_path):
    run = fit(cache=pixel_run.parent / "cache", out=tmp_path / "run", method="ulfine").path
    export_onnx(run=run, onnx=tmp_path / "plain.onnx", input="pixels")
    (tmp_path / "w.csv").write_text("class,weight\ncircle,8\nsquare,1\ntriangle,1\n", "utf-8")
    export_onnx(run=run, onnx=tmp_path / "moved.onnx", input="pixels", test_prior=str(tmp_path / "w.csv"))
    pixels = np.random.default_rng(0).normal(size=(3, 3, 64, 64)).astype(np.float32)
    answers = []
    for name in ("plain", "moved"):
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        shape = session.get_inputs()[0].shape[1:]
        rows = pixels[:, :, : shape[1], : shape[2]]
        names = [output.name for output in session.get_outputs()]
        answers.append(dict(zip(names, session.run(None, {"pixels": rows}), strict=True)))
    plain, moved = answers
    shift = prior_shift(np.array([0.8, 0.1, 0.1]), load_run(run).answered_prior())
    for part in ("logits_text", "logits_probe"):
        np.testing.assert_allclose(moved[part], plain[part], atol=1e-4)
    np.testing.assert_allclose(moved["logits"], plain["logits"] + shift, atol=1e-4)
    odds = np.exp(moved["logits"] - moved["logits"].max(axis=1, keepdims=True))
    np.testing.assert_allclose(moved["probabilities"], odds / odds.sum(axis=1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_prior", [0.5, 0.5]),
        ("class_prior", [0.5, -0.5, 0.5, 0.5]),
        ("class_prior", [0, 0, 0, 0]),
        ("class_prior", "uniform"),
        ("class_prior", [0.5, "x", 0.1, 0.1]),
        ("class_prior", [True, 1, 1, 1]),
        ("labelled_counts", [1, 2, 3]),
        ("labelled_counts", [10**400, 1, 1, 1]),
    ],
)
def test_metadata__damaged_prior(exported, key, value):
    props = metadata(exported[""]).to_props() | {key: json.dumps(value)}
    with pytest.raises(UlfineError, match="carries damaged metadata"):
        ExportMetadata.from_props(props, "m.onnx")


def test_metadata__prior_comes_back(exported):
    written = replace(metadata(exported[""]), class_prior=(0.5, 0.0, 0.25, 0.25), test_prior="file")
    assert ExportMetadata.from_props(written.to_props(), "m.onnx") == written


def test_export_onnx__same_run_and_prior_same_bytes(probe, exported, tmp_path):
    export_onnx(run=probe, onnx=tmp_path / "again.onnx", test_prior="estimate")
    assert (tmp_path / "again.onnx").read_bytes() == exported["estimate"].read_bytes()
