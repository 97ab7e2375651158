"""`info` recognises the three things there are and nothing else."""

import json

import pytest

from ulfine_cache.errors import UlfineError
from ulfine_exports.info import info


def test_info__cache(feature_cache):
    figures = info(target=feature_cache)
    assert (figures["kind"], figures["rows"], figures["classes"], figures["features"]) == ("cache", 200, 4, 16)
    assert (figures["labelled"], figures["test"], list(figures["splits"])) == (160, 40, ["lt"])
    assert info(target=feature_cache / "cache.h5")["fingerprint"] == figures["fingerprint"]
    assert json.loads(json.dumps(figures)) == figures


def test_info__cache_of_images(pixel_run):
    figures = info(target=pixel_run.parent / "cache")
    assert figures["model"] == "builtin:tiny"
    assert figures["views"] == 1
    assert figures["preprocess"]["resize_mode"] == "shortest"


def test_info__run(feature_run):
    figures = info(target=feature_run)
    assert (figures["kind"], figures["method"], figures["split"], figures["seed"]) == ("run", "ulfine", "lt", 0)
    assert 0 <= figures["macro_accuracy"] <= 1
    assert sum(figures["labelled_counts"]) == 20 + 11 + 6 + 4
    assert json.loads(json.dumps(figures)) == figures


def test_info__export(feature_onnx, pixel_onnx):
    figures = info(target=feature_onnx)
    assert (figures["kind"], figures["input"], figures["inputs"]) == ("export", "features", ["features (batch, 16)"])
    assert figures["outputs"] == ["probabilities (batch, 4)", "logits (batch, 4)"]
    assert figures["class_names"] == ["ash", "birch", "cedar", "date palm"]
    assert figures["bytes"] == feature_onnx.stat().st_size
    assert json.loads(json.dumps(figures)) == figures
    assert info(target=pixel_onnx)["preprocess"]["mean"]


def test_info__something_else(tmp_path, feature_file):
    (tmp_path / "notes.txt").write_text("nothing")
    for target, message in [
        (tmp_path, "neither a cache nor a run"),
        (tmp_path / "none", "nothing at"),
        (tmp_path / "notes.txt", "no ONNX model"),
        (feature_file, "no ONNX model"),
    ]:
        with pytest.raises(UlfineError, match=message) as caught:
            info(target=target)
        assert "\n" not in str(caught.value)
