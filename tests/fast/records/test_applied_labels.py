"""Runs that were fitted with labels that people decided: what they keep, and what they are judged by."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.import_features import import_features
from ulfine_cache.splits import make_split
from ulfine_fast.compare import compare
from ulfine_fast.evaluate import evaluate, fitted_split, open_cache_of
from ulfine_fast.fitting import fit
from ulfine_fast.judging.metrics import SCALARS
from ulfine_fast.run import load_run


def decide(folder: Path, labels: dict[str, str], name: str = "labels.csv") -> Path:
    (folder / name).write_text("".join(["path,label\n", *(f"{path},{label}\n" for path, label in labels.items())]))
    return folder / name


@pytest.fixture
def gums(bare_cache: Path, tmp_path: Path) -> Path:
    """The labelled and hidden rows of "fig" but one test row are gums: a class that the cache does not know."""
    return decide(tmp_path, {f"fig/{row}.jpg": "gum" for row in range(300, 340)})


@pytest.fixture
def run(bare_cache: Path, gums: Path, tmp_path: Path) -> Path:
    return fit(cache=bare_cache, out=tmp_path / "run", method="lp", apply=gums, set=["steps=5"]).path


def test_run__keeps_the_decisions(run, gums, bare_cache):
    loaded = load_run(run)
    assert loaded.class_names == ("ash", "birch", "cedar", "date palm", "elm", "fig", "gum")
    assert loaded.labelled_counts == (60, 60, 60, 60, 60, 20, 40)
    assert loaded.provenance["applied"]["decisions"] == 40
    assert loaded.provenance["applied"]["file"] == str(gums)
    assert len(loaded.provenance["applied"]["sha256"]) == 64
    assert (run / "labels.csv").read_text().splitlines()[:2] == ["path,label", "fig/300.jpg,gum"]
    assert open_cache_of(loaded).class_names == list(loaded.class_names)
    fitted = fitted_split(loaded, FeatureCache.open(bare_cache))
    assert fitted is not None and len(fitted.labelled) == 360


def test_run__without_decisions_says_nothing_of_them(bare_cache, tmp_path):
    run = fit(cache=bare_cache, out=tmp_path / "run", method="lp", set=["steps=2"])
    assert "applied" not in run.provenance
    assert not (tmp_path / "run" / "labels.csv").exists()


def test_same_decisions__same_model(run, bare_cache, gums, tmp_path):
    lines = gums.read_text().splitlines()
    (tmp_path / "again.csv").write_text("\r\n".join([lines[0], *lines[:0:-1], ""]))
    fit(cache=bare_cache, out=tmp_path / "again", method="lp", apply=tmp_path / "again.csv", set=["steps=5"])
    for name in ("model.safetensors", "metrics.json"):
        one, other = (run / name).read_bytes(), (tmp_path / "again" / name).read_bytes()
        assert name == "metrics.json" or one == other
    digests = [
        json.loads((folder / "provenance.json").read_text())["applied"]["sha256"]
        for folder in (run, tmp_path / "again")
    ]
    assert digests[0] == digests[1]


def test_run__whose_decisions_were_changed(run):
    with (run / "labels.csv").open("a") as file:
        file.write("ash/0.jpg,gum\n")
    with pytest.raises(UlfineError, match=r"labels\.csv has changed since the run was fitted"):
        open_cache_of(load_run(run))


def test_evaluate__named_split(text_cache, tmp_path, recorder):
    """The truth of a test row is corrected, by the run's decisions and by others."""
    cache = FeatureCache.open(text_cache)
    split = cache.read_split("lt")
    wrong = split.test[:6]
    labels = decide(tmp_path, {cache.paths[row]: "fig" for row in (*wrong, *split.unlabelled[:4])})
    run = fit(cache=text_cache, out=tmp_path / "run", split="lt", apply=labels, progress=recorder)
    assert "6 decisions about labels correct the truth of rows of the test or validation set" in recorder.notes
    assert run.labelled_counts[5] == cache.labels[split.labelled].tolist().count(5) + 4
    again = evaluate(run=run.path)
    for name in (*SCALARS, "test_rows", "per_class"):
        assert again[name] == run.metrics[name]
    plain = evaluate(run=run.path, apply=decide(tmp_path, {cache.paths[split.test[0]]: "ash"}, "other.csv"))
    assert plain["accuracy"] == pytest.approx(again["accuracy"] + 6 / 60, abs=0.02)
    with pytest.raises(UlfineError, match="'gum': no class of the run"):
        evaluate(run=run.path, apply=decide(tmp_path, {cache.paths[0]: "gum"}, "other.csv"))


def test_evaluate__test_rows_that_it_was_fitted_on(text_cache, tmp_path):
    shutil.copytree(text_cache, tmp_path / "cache")
    cache = FeatureCache.open(tmp_path / "cache")
    split = cache.read_split("lt")
    rest = np.setdiff1d(np.arange(360), np.concatenate([split.labelled, split.unlabelled, split.test]))
    labels = decide(tmp_path, {cache.paths[row]: "fig" for row in rest[:5]})
    run = fit(cache=cache.path, out=tmp_path / "run", split="lt", apply=labels)
    fitted = fitted_split(run, open_cache_of(run))
    assert fitted is not None
    assert set(fitted.labelled) == {*split.labelled, *rest[:5]}
    make_split(cache=cache.path, name="other", labelled_max=10, imbalance=2.0, test_per_class=20, seed=9)
    with pytest.raises(UlfineError, match="was fitted on"):
        evaluate(run=run.path, split="other")


def test_split_and_compare(text_cache, tmp_path, gums):
    shutil.copytree(text_cache, tmp_path / "cache")
    asked = {"cache": tmp_path / "cache", "apply": gums}
    make_split(**asked, name="gums", labelled_max=8, imbalance=2.0, test_per_class=4)
    run = fit(**asked, out=tmp_path / "run", split="gums")
    assert len(run.class_names) == 7
    assert run.metrics["test_rows"] == 28
    again = evaluate(run=run.path)
    assert again["macro_accuracy"] == run.metrics["macro_accuracy"]
    fitted = fitted_split(run, FeatureCache.open(tmp_path / "cache"))
    assert fitted is not None
    assert fitted.labelled.tolist() == open_cache_of(run).read_split("gums").labelled.tolist()
    for call in (fit, compare):
        more = {"out": tmp_path / "other"} if call is fit else {"methods": "lp", "seeds": 1}
        with pytest.raises(UlfineError, match="drawn with labels that people decided: give the file"):
            call(cache=tmp_path / "cache", split="gums", **more)
    figures = compare(**asked, split="gums", methods="lp", seeds=1)
    assert figures["methods"][0]["macro_accuracy"]["mean"] > 0.5


def test_evaluate__new_cache_of_the_same_classes_in_another_order(bare_cache, tmp_path):
    """As one that was made from a listing of the corrected labels."""
    cache = FeatureCache.open(bare_cache)
    labels = decide(tmp_path, dict.fromkeys(cache.paths[300:330], "acacia"))
    run = fit(cache=bare_cache, out=tmp_path / "run", method="lp", apply=labels, set=["steps=5"])
    assert run.class_names[-1] == "acacia"
    names = sorted(run.class_names)
    changed = open_cache_of(run)
    arrays = {
        "features": cache.features(),
        "labels": [names.index(changed.class_names[label]) for label in changed.labels],
        "class_names": names,
        "split": ["test"] * cache.n_rows,
    }
    np.savez(tmp_path / "new.npz", **{name: np.asarray(values) for name, values in arrays.items()})
    import_features(file=tmp_path / "new.npz", out=tmp_path / "new", index="none")
    figures = evaluate(run=run.path, cache=tmp_path / "new")
    truth = run.predict_proba(cache.features()).argmax(axis=1) == changed.labels
    assert figures["accuracy"] == pytest.approx(truth.mean())
