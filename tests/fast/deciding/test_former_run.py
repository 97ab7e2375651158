"""A fit like a former one: what it takes over, a class more, and how the old classes fared."""

import json

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_cache.splits import make_split
from ulfine_fast.fitting import fit


@pytest.fixture
def place(make_cache, clusters, tmp_path):
    """A cache whose last class is unlabelled until `labels.csv` is applied, and a run without it."""
    features, labels, _ = clusters(60)
    paths = np.array([f"{label}/{row}.jpg" for row, label in enumerate(labels)])
    make_cache("cache", features=features, labels=labels, class_names=np.array(list("abcdef")), paths=paths)
    lines = [f"{path}," for path in paths[labels == 5]]
    (tmp_path / "five.csv").write_text("\n".join(["path,label", *lines]) + "\n", "utf-8")
    make_split(cache=tmp_path / "cache", name="lt", labelled_max=16, imbalance=4, test_per_class=20)
    old = {"cache": tmp_path / "cache", "split": "lt", "out": tmp_path / "old", "apply": tmp_path / "five.csv"}
    fit(**old, set=["tau=0.5"], seed=7, method="lp-la")
    (tmp_path / "six.csv").write_text("path,label\n", "utf-8")
    return tmp_path


def test_fit_from__takes_over_and_compares(place):
    run = fit(cache=place / "cache", out=place / "new", from_=place / "old", apply=place / "six.csv")
    assert (run.method, run.config["seed"], run.config["split"]) == ("lp-la", 7, "lt")
    assert run.config["settings"]["tau"] == 0.5
    assert run.provenance["from"] == str(place / "old")
    assert run.class_names == tuple("abcdef")
    found = json.loads((place / "new" / "metrics.json").read_text())["against"]
    assert found["run"] == str(place / "old")
    assert found["common"]["classes"] == 5
    assert found["whole"]["classes"] == 6
    cache = FeatureCache.open(place / "cache")
    test = cache.read_split("lt").test
    table = run.predict_proba(cache.features(test))
    recalls = [(table.argmax(1) == cache.labels[test])[cache.labels[test] == k].mean() for k in range(5)]
    assert found["common"]["macro_accuracy"]["new"] == pytest.approx(np.mean(recalls))


def test_fit_from__what_is_given_wins(place):
    run = fit(cache=place / "cache", out=place / "new", from_=place / "old", method="knn", seed=1)
    assert (run.method, run.config["seed"]) == ("knn", 1)
    # Its own decisions are those of the former run.
    assert run.class_names == tuple("abcde")
    again = fit(cache=place / "cache", out=place / "again", from_=place / "old")
    macro = again.metrics["against"]["common"]["macro_accuracy"]
    assert macro["difference"] == 0
    assert "against" not in fit(cache=place / "cache", split="lt", out=place / "plain", method="lp").metrics


def test_fit_from__another_encoder(place, make_cache):
    make_cache("wide", features=np.eye(20, 17) + 0.1, labels=np.repeat([0, 1], 10), class_names=np.array(["a", "b"]))
    with pytest.raises(UlfineError, match="another encoder"):
        fit(
            cache=place / "wide",
            out=place / "new",
            from_=place / "old",
            split=None,
            method="lp",
            apply=place / "six.csv",
        )
    assert not (place / "new").exists()
