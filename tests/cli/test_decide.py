"""diff, sort, drift and `fit --from`, as users type them."""

import json

import numpy as np
import pytest

from ulfine_cache.feature_cache import FeatureCache


@pytest.fixture(scope="module")
def place(ulfine, feature_file, tmp_path_factory):
    place = tmp_path_factory.mktemp("decide")
    ulfine("import-features", feature_file, "--out", place / "cache", "--index", "none").succeeded()
    ulfine("split", place / "cache", "--name", "lt", "--labelled-max", 16, "--imbalance", 4).succeeded()
    fit = ("fit", place / "cache", "--split", "lt", "--no-report")
    ulfine(*fit, "--out", place / "good", "--target-accuracy", 0.9).succeeded()
    ulfine(*fit, "--out", place / "bad", "--method", "lp", "--set", "steps=1").succeeded()
    return place


def test_diff__exit_code_says_whether_it_is_worse(place, ulfine_here, tmp_path):
    options = ("--out", tmp_path / "d.html", "--json", tmp_path / "d.json")
    worse = ulfine_here("diff", place / "good", place / "bad", *options)
    figures = json.loads((tmp_path / "d.json").read_text("utf-8"))
    assert worse.exit_code == (1 if figures["worse"] else 0)
    assert (figures["common"]["macro_accuracy"]["difference"] < 0) or not figures["worse"]
    assert "points (95 % interval)" in worse.out
    assert (tmp_path / "d.html").is_file()
    assert ulfine_here("diff", place / "bad", place / "good").exit_code == 0
    assert "no model at" in ulfine_here("diff", place / "good", tmp_path / "gone").failed(1)


def test_fit__from_and_threshold_are_shown(place, ulfine_here, tmp_path):
    done = ulfine_here("fit", place / "cache", "--out", tmp_path / "next", "--from", place / "good", "--no-report")
    assert f"against {place / 'good'}" in done.succeeded().out
    assert "accepted from a confidence of" in ulfine_here("evaluate", place / "good").succeeded().out
    knn = ("fit", place / "cache", "--split", "lt", "--method", "knn", "--out", tmp_path / "knn", "--no-report")
    refused = ulfine_here(*knn, "--target-accuracy", 0.9)
    assert refused.exit_code == 1
    assert "no threshold was learnt" in refused.err


def test_fit__accept_by_class_is_shown(place, ulfine_here, tmp_path):
    fit = ("fit", place / "cache", "--split", "lt", "--no-report", "--accept-by", "class")
    done = ulfine_here(*fit, "--out", tmp_path / "run", "--target-accuracy", 0.9).succeeded()
    assert "that for all: cannot be judged from" in done.out
    assert "a threshold of its own takes 10 of them" in done.out
    assert ulfine_here("evaluate", tmp_path / "run").succeeded().out.count("cannot be judged from") >= 1
    told = ulfine_here("predict", tmp_path / "run", place / "cache").succeeded().out
    assert "accepted: " in told and "by class" in told
    assert "--target-accuracy" in ulfine_here(*fit, "--out", tmp_path / "other").failed(2)
    assert "choose all or class" in ulfine_here(*fit[:-1], "each", "--out", tmp_path / "other").failed(2)
    assert not (tmp_path / "other").exists()


def test_fit__outlier_score_is_shown(place, ulfine_here, tmp_path):
    fit = ("fit", place / "cache", "--split", "lt", "--no-report", "--outlier-score", "--out")
    done = ulfine_here(*fit, tmp_path / "run").succeeded()
    assert "outlier score: above 1 an image is less like any class than 95.0 % of" in done.out
    told = ulfine_here("predict", tmp_path / "run", place / "cache", "--json", tmp_path / "p.json").succeeded().out
    figures = json.loads((tmp_path / "p.json").read_text("utf-8"))
    of = len(figures["predictions"])
    assert f"unlike every class: {figures['outliers']} of {of} inputs, with an outlier score above 1" in told
    assert told.splitlines()[0].split() == ["path", "label", "confidence", "outlier", "score"]
    refused = ulfine_here(*fit, tmp_path / "knn", "--method", "knn")
    assert refused.exit_code == 1
    assert "no outlier score could be learnt" in refused.out
    assert "error: no outlier score was learnt" in refused.err


def test_drift__exit_code_says_whether_it_has_changed(place, ulfine_here, tmp_path):
    done = ulfine_here("drift", place / "good", place / "cache", "--json", tmp_path / "d.json")
    figures = json.loads((tmp_path / "d.json").read_text("utf-8"))
    assert done.exit_code == int(figures["alarm"])
    features = FeatureCache.open(place / "cache").features(np.arange(40))
    np.savez(tmp_path / "moved.npz", features=features + np.linspace(0, 1, features.shape[1], dtype=np.float32))
    moved = ulfine_here("drift", place / "good", tmp_path / "moved.npz")
    assert moved.exit_code == 1
    assert "the images are not like those of the fit" in moved.err


def test_sort__wrong_usage(place, ulfine_here, tmp_path):
    assert "name a model" in ulfine_here("sort", "--out", tmp_path / "out").failed(2)
    assert "stands alone" in ulfine_here("sort", place / "good", "--undo", tmp_path).failed(2)
    assert "sorted.csv" in ulfine_here("sort", "--undo", tmp_path).failed(1)
