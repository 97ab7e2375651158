"""The command: what it refuses, and what it says of a run."""

from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.import_features import import_features
from ulfine_exports.inspect_cache import inspect_cache


def test_inspect_cache__takes_the_split_of_the_run(feature_cache, feature_run):
    found = inspect_cache(cache=feature_cache, what="outliers", run=feature_run)
    assert found["split"] == "lt"
    assert found["found"] == found["figures"]["rows"]
    assert list(found["findings"][0])[:3] == ["path", "score", "suggestion"]


def test_inspect_cache__a_run_of_another_cache_is_refused(feature_run, tmp_path):
    np.savez(tmp_path / "other.npz", features=np.eye(8), labels=np.array([0, 1] * 4))
    import_features(file=tmp_path / "other.npz", out=tmp_path / "other", index="none")
    with pytest.raises(UlfineError, match="is a cache of another model"):
        inspect_cache(cache=tmp_path / "other", what="next-to-label", run=feature_run)


def test_inspect_cache__the_model_of_the_run_is_asked(feature_cache, feature_run):
    with_run = inspect_cache(cache=feature_cache, what="next-to-label", run=feature_run, count=5)
    without = inspect_cache(cache=feature_cache, what="next-to-label", split="lt", count=5)
    # The run is a fit of the same rows by the same method and seed.
    assert [item["path"] for item in with_run["findings"]] == [item["path"] for item in without["findings"]]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"out": Path("table.txt")}, "must end in .csv or .parquet"),
        ({"gallery": Path("page.txt")}, "must end in .html"),
        ({"what": "everything"}, "what='everything'"),
        ({"count": 0}, "count=0"),
    ],
)
def test_inspect_cache__wrong_usage(arguments, words, feature_cache):
    with pytest.raises(UsageError, match=words):
        inspect_cache(**{"cache": feature_cache, "what": "duplicates", **arguments})


@pytest.mark.parametrize("what", ["label-errors", "outliers", "next-to-label"])
def test_inspect_cache__one_class_is_too_few(what, tmp_path):
    np.savez(tmp_path / "one.npz", features=np.eye(8), labels=np.array([0] * 4 + [-1] * 4))
    import_features(file=tmp_path / "one.npz", out=tmp_path / "one", index="none")
    with pytest.raises(UlfineError, match="one class only"):
        inspect_cache(cache=tmp_path / "one", what=what)


@pytest.mark.parametrize("what", ["label-errors", "outliers", "next-to-label"])
def test_inspect_cache__nothing_labelled(what, tmp_path):
    np.savez(tmp_path / "none.npz", features=np.eye(8), labels=np.full(8, -1), class_names=np.array(["a", "b"]))
    import_features(file=tmp_path / "none.npz", out=tmp_path / "none", index="none")
    with pytest.raises(UlfineError, match="no labelled rows"):
        inspect_cache(cache=tmp_path / "none", what=what)
