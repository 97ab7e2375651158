"""The whole way, once; its accuracies are the benchmark's business (benchmarks/quickstart.py)."""

import json
from pathlib import Path

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_exports import quickstart as module
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.quickstart import quickstart
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("quickstart") / "out"
    return out, quickstart(out=out)


def test_quickstart__figures(done):
    _, figures = done
    assert [entry["method"] for entry in figures["methods"]] == ["zero-shot", "lp", "ulfine"]
    for entry in figures["methods"]:
        assert 0 <= entry["tail_accuracy"] <= 1
    assert figures["images"] == 1797
    assert sorted(figures["split"]["labelled_counts"], reverse=True)[::9] == [20, 1]
    assert figures["split"]["test"] == 500
    assert figures["export"]["parity"]["source"] == "test rows"
    assert figures["export"]["parity"]["largest_difference"] <= 1e-4
    assert json.loads(json.dumps(figures)) == figures


def test_quickstart__files_are_where_it_says(done):
    out, figures = done
    files = figures["files"]
    assert OnnxClassifier(Path(files["onnx"])).class_names == tuple(FeatureCache.open(Path(files["cache"])).class_names)
    assert [load_run(Path(run)).method for run in files["runs"]] == ["zero-shot", "lp", "ulfine"]
    assert figures["methods"][2]["macro_accuracy"] == load_run(out / "runs" / "ulfine").metrics["macro_accuracy"]


def test_quickstart__example_is_a_held_out_image(done):
    out, figures = done
    example = Path(figures["example"]["path"])
    cache = FeatureCache.open(out / "cache")
    row = cache.paths.index(example.relative_to(out / "photographs").as_posix())
    assert row in cache.read_split("long-tailed").test
    assert figures["example"]["truth"] == example.parent.name
    found = OnnxClassifier(out / "digits.onnx", device="cpu").predict_proba([example])[0]
    assert np.isclose(found.max(), figures["example"]["confidence"], atol=1e-5)


def test_quickstart__again_keeps_the_cache_and_replaces_the_rest(done, monkeypatch):
    out, _ = done
    cached = (out / "cache" / "cache.h5").stat().st_mtime_ns
    exported = (out / "digits.onnx").stat().st_mtime_ns
    monkeypatch.setattr(module, "METHODS", ("zero-shot",))
    figures = quickstart(out=out)
    assert [entry["method"] for entry in figures["methods"]] == ["zero-shot"]
    assert (out / "cache" / "cache.h5").stat().st_mtime_ns == cached
    assert (out / "digits.onnx").stat().st_mtime_ns > exported


def test_quickstart__place_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UlfineError, match="cannot create"):
        quickstart(out=tmp_path / "file")
