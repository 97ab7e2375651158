"""Drift of what a user names: pictures, features, and what cannot be compared."""

import shutil

import numpy as np
import pytest
from PIL import ImageFilter

from ulfine_cache.errors import UlfineError
from ulfine_exports.drift import drift
from ulfine_exports.inference.pictures import find_images, to_picture


def test_drift__the_same_pictures_are_alike(pixel_run, photographs):
    found = drift(model=pixel_run, inputs=[photographs])
    assert not found["alarm"]
    assert found["images"] == len(find_images(photographs))
    assert found["unreadable"] == []
    assert sum(entry["new"] for entry in found["classes"]) == pytest.approx(1)


def test_drift__blurred_pictures_are_not(pixel_run, photographs, tmp_path):
    for number, image in enumerate(find_images(photographs)):
        to_picture(image).filter(ImageFilter.GaussianBlur(6)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = drift(model=pixel_run, inputs=[tmp_path])
    assert found["alarm"]
    assert found["changed"]
    assert [item["path"] for item in found["unreadable"]] == [str(tmp_path / "broken.png")]
    assert found["strangest"][0]["distance"] >= found["strangest"][-1]["distance"]


def test_drift__features(feature_run, feature_cache, tmp_path):
    assert drift(model=feature_run, inputs=[feature_cache])["images"] > 0
    np.savez(tmp_path / "other.npz", features=np.ones((4, 77), np.float32))
    with pytest.raises(UlfineError, match="another model"):
        drift(model=feature_run, inputs=[tmp_path / "other.npz"])


def test_drift__refusals(feature_run, feature_onnx, feature_cache, tmp_path):
    with pytest.raises(UlfineError, match="no run"):
        drift(model=feature_onnx, inputs=[feature_cache])
    with pytest.raises(UlfineError, match="does not exist"):
        drift(model=feature_run, inputs=[tmp_path / "gone"])
    shutil.copytree(feature_run, tmp_path / "run")
    (tmp_path / "run" / "reference.safetensors").write_bytes(b"damaged")
    with pytest.raises(UlfineError, match="damaged"):
        drift(model=tmp_path / "run", inputs=[feature_cache])
    (tmp_path / "run" / "reference.safetensors").unlink()
    with pytest.raises(UlfineError, match="fit it again"):
        drift(model=tmp_path / "run", inputs=[feature_cache])
