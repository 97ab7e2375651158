import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from sklearn.metrics import balanced_accuracy_score

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_fast.fitting import fit
from ulfine_fast.judging.metrics import SCALARS
from ulfine_fast.registry import METHODS
from ulfine_fast.run import load_run

CLASSES = ("ash", "birch", "cedar", "date palm", "elm", "fig")


class Listener:
    def __init__(self):
        self.notes, self.updates = [], []

    def update(self, stage, done, total, **figures):
        self.updates.append((stage, done, total))

    def note(self, message):
        self.notes.append(message)


def test_fit__writes_a_run(text_cache, tmp_path):
    listener = Listener()
    run = fit(
        cache=text_cache,
        out=tmp_path / "run",
        split="lt",
        method="zero-shot",
        set=["scale=20"],
        seed=3,
        device="cpu",
        progress=listener,
    )
    names = {path.name for path in run.path.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents.")}
    assert len(events) == 1
    assert names - events == {
        *("config.yaml", "model.safetensors", "metrics.json", "provenance.json", "history.csv", "predictions.csv"),
        *("per_class.csv", "labelled.csv", "unlabelled.csv", "reference.safetensors"),
    }
    assert yaml.safe_load((run.path / "config.yaml").read_text()) == {
        "method": "zero-shot",
        "seed": 3,
        "split": "lt",
        "device": "cpu",
        "views": "center",
        "settings": {"scale": 20.0},
    }
    assert any("training" in update for update in listener.updates)
    assert any("zero-shot on cpu" in note for note in listener.notes)
    assert run.figures()["macro_accuracy"] == run.metrics["macro_accuracy"]


def test_fit__figures_and_predictions_agree_with_the_cache(text_cache, tmp_path):
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", method="zero-shot")
    cache = FeatureCache.open(text_cache)
    split = cache.read_split("lt")
    truth = cache.labels[split.test]
    probabilities = run.predict_proba(cache.features(split.test))
    metrics = json.loads((run.path / "metrics.json").read_text())
    assert metrics == run.metrics
    assert set(SCALARS) <= set(metrics)
    assert metrics["macro_accuracy"] == pytest.approx(balanced_accuracy_score(truth, probabilities.argmax(1)))
    assert metrics["seconds"] >= 0
    assert [entry["labelled"] for entry in metrics["per_class"]] == split.protocol["drawn"]["labelled_counts"]
    assert metrics["pseudo_labels"]["all"]["rows"] == len(split.unlabelled)
    false = run.predict_proba(cache.features(split.unlabelled)).argmax(1) != cache.labels[split.unlabelled]
    assert metrics["pseudo_labels"]["all"]["false"] == pytest.approx(false.mean())
    with (run.path / "predictions.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "label", "confidence", *CLASSES]
    assert [row[0] for row in rows[1:]] == [cache.paths[row] for row in split.test]
    assert [row[1] for row in rows[1:]] == [CLASSES[k] for k in probabilities.argmax(1)]


def test_fit__provenance_names_what_is_needed_to_repeat_it(text_cache, tmp_path):
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", method="zero-shot", seed=2)
    cache = FeatureCache.open(text_cache)
    assert run.provenance["cache"]["fingerprint"] == cache.fingerprint
    assert run.provenance["cache"]["path"] == str(text_cache)
    assert run.provenance["cache"]["model"] == cache.attributes["model"]
    assert run.provenance["split"]["name"] == "lt"
    assert run.provenance["split"]["protocol"]["imbalance"] == 5.0
    assert run.provenance["seed"] == 2
    assert {"ulfine-fast", "torch", "numpy", "python"} <= set(run.provenance["versions"])
    assert run.labelled_counts == tuple(cache.read_split("lt").protocol["drawn"]["labelled_counts"])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("text", [True, False])
def test_fit__same_seed_same_bytes(text_cache, bare_cache, tmp_path, method, text):
    cache = text_cache if text else bare_cache
    for name in ("one", "two"):
        fit(cache=cache, out=tmp_path / name, split="lt", method=method, seed=1, device="cpu")
    for file in ("model.safetensors", "config.yaml", "history.csv", "predictions.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


@pytest.mark.parametrize("method", METHODS)
def test_fit__same_seeds_same_bytes(text_cache, tmp_path, method):
    for name in ("one", "two"):
        run = fit(cache=text_cache, out=tmp_path / name, split="lt", method=method, seed=1, seeds=2, device="cpu")
        assert len(run.metrics["seeds"]["macro_accuracy"]["per_seed"]) == 2
    for file in ("model.safetensors", "config.yaml", "history.csv", "predictions.csv"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text())["seeds"] for name in ("one", "two"))
    assert one == two


def test_fit__same_bytes_in_another_process(text_cache, tmp_path):
    fit(cache=text_cache, out=tmp_path / "here", split="lt", method="zero-shot", device="cpu")
    code = (
        "import sys; from pathlib import Path; from ulfine_fast import fit; "
        "fit(cache=Path(sys.argv[1]), out=Path(sys.argv[2]), split='lt', method='zero-shot', device='cpu')"
    )
    subprocess.run([sys.executable, "-c", code, str(text_cache), str(tmp_path / "there")], check=True)
    for file in ("model.safetensors", "config.yaml", "history.csv", "predictions.csv"):
        assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes(), file


@pytest.mark.parametrize("method", METHODS)
def test_fit__every_method_learns_and_survives_loading(text_cache, tmp_path, method):
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", method=method)
    assert run.metrics["macro_accuracy"] > 0.6
    assert 0 <= run.metrics["ece"] <= 1
    features = FeatureCache.open(text_cache).features()
    assert np.array_equal(load_run(run.path).predict_proba(features), run.predict_proba(features))


def test_fit__a_runs_config_repeats_it(text_cache, tmp_path):
    first = fit(cache=text_cache, out=tmp_path / "one", split="lt", method="zero-shot", set=["scale=7"])
    again = fit(
        cache=text_cache, out=tmp_path / "two", split="lt", method="zero-shot", settings=first.path / "config.yaml"
    )
    assert again.config == first.config


def test_fit__without_test_rows_says_none(make_cache, tmp_path, clusters):
    features, labels, text = clusters(5)
    cache = make_cache("small", features=features, labels=labels, text_features=text)
    run = fit(cache=cache, out=tmp_path / "run", method="zero-shot")
    assert run.metrics["test_rows"] == 0
    assert {run.metrics[name] for name in SCALARS} == {None}
    assert run.metrics["pseudo_labels"] is None
    assert not (run.path / "predictions.csv").exists()
    load_run(run.path)


def test_fit__own_sets_with_unlabelled_rows_of_unknown_truth(make_cache, tmp_path, clusters):
    features, labels, text = clusters(10)
    labels = np.where(np.arange(len(labels)) % 10 < 4, labels, -1)
    split = np.where(np.arange(len(labels)) % 10 < 2, "test", "train")
    cache = make_cache("own", features=features, labels=labels, text_features=text, split=split)
    run = fit(cache=cache, out=tmp_path / "run", method="zero-shot")
    assert run.metrics["test_rows"] == 12
    assert run.metrics["pseudo_labels"] is None
    assert run.provenance["split"]["unlabelled"] == 36
    assert run.provenance["split"]["labelled"] == 12


def test_fit__refuses_before_it_works(text_cache, tmp_path):
    arguments = {"cache": text_cache, "out": tmp_path / "run", "split": "lt", "method": "zero-shot"}
    mistakes = [
        ({"method": "magic"}, UsageError, "unknown method 'magic'"),
        ({"set": ["size=3"]}, UsageError, "unknown setting 'size'"),
        ({"seed": -1}, UsageError, "seed=-1"),
        ({"seed": 1.5}, UsageError, "seed=1.5"),
        ({"device": "gpu"}, UsageError, "no device 'gpu'"),
        ({"split": "none"}, UlfineError, "no split 'none'"),
        ({"cache": tmp_path / "nowhere"}, UlfineError, "no cache at"),
        ({"settings": tmp_path / "none.yaml"}, UlfineError, "cannot read the settings file"),
        ({"out": text_cache}, UlfineError, "holds no run"),
    ]
    for change, kind, words in mistakes:
        with pytest.raises(kind, match=words) as error:
            fit(**(arguments | change))
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_fit__one_class_or_class_without_labels(make_cache, tmp_path, clusters):
    features, labels, _ = clusters(5)
    one = make_cache("one", features=features[:5], labels=labels[:5], class_names=["ash"])
    with pytest.raises(UlfineError, match="one class only"):
        fit(cache=one, out=tmp_path / "run", method="zero-shot")
    labels = np.where(labels == 2, -1, labels)
    missing = make_cache("missing", features=features, labels=labels, class_names=CLASSES)
    with pytest.raises(UlfineError, match="class 'cedar' has no labelled rows"):
        fit(cache=missing, out=tmp_path / "run", method="zero-shot")
    assert not (tmp_path / "run").exists()


def test_fit__overwrites_only_when_told(text_cache, tmp_path):
    arguments = {"cache": text_cache, "out": tmp_path / "run", "split": "lt", "method": "zero-shot"}
    fit(**arguments)
    with pytest.raises(UlfineError, match="--overwrite"):
        fit(**arguments, set=["scale=5"])
    fit(**arguments, set=["scale=5"], overwrite=True)
    assert load_run(tmp_path / "run").config["settings"] == {"scale": 5.0}
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
