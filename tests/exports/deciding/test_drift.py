"""Drift of what a user names: pictures, features, and what cannot be compared."""

import shutil

import numpy as np
import onnx
import pytest
from PIL import Image, ImageFilter

from tests.exports.pages.headless import look
from ulfine_cache.errors import UlfineError
from ulfine_exports.drift import drift
from ulfine_exports.export import export_onnx
from ulfine_exports.inference.content_digest import KEY
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


def test_drift__refusals(feature_run, feature_cache, tmp_path):
    with pytest.raises(UlfineError, match="does not exist"):
        drift(model=feature_run, inputs=[tmp_path / "gone"])
    shutil.copytree(feature_run, tmp_path / "run")
    (tmp_path / "run" / "reference.safetensors").write_bytes(b"damaged")
    with pytest.raises(UlfineError, match="damaged"):
        drift(model=tmp_path / "run", inputs=[feature_cache])
    (tmp_path / "run" / "reference.safetensors").unlink()
    with pytest.raises(UlfineError, match="fit it again"):
        drift(model=tmp_path / "run", inputs=[feature_cache])


@pytest.fixture(scope="module")
def image_onnx(pixel_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("drift") / "eight-bits.onnx"
    export_onnx(run=pixel_run, onnx=path, input="image", precision="int8", max_drop=100.0)
    return path


def test_drift__of_an_exported_file(image_onnx, photographs, tmp_path):
    """An int8 file compares with what itself has seen: the pictures of the fit are alike, blurred ones are not."""
    alike = drift(model=image_onnx, inputs=[photographs / "train"])
    assert not alike["alarm"]
    assert alike["reference"] == alike["images"] == 24
    for number, image in enumerate(find_images(photographs)):
        to_picture(image).filter(ImageFilter.GaussianBlur(6)).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = drift(model=image_onnx, inputs=[tmp_path], out=tmp_path / "drift.html")
    assert found["alarm"]
    assert [item["path"] for item in found["unreadable"]] == [str(tmp_path / "broken.png")]


def test_drift__file_as_its_run(feature_run, feature_onnx, feature_cache):
    """Fewer features than are kept, and so the same answers."""
    of_run, of_file = (drift(model=model, inputs=[feature_cache]) for model in (feature_run, feature_onnx))
    assert of_file["alarm"] == of_run["alarm"]
    for question, p_value in of_run["p_values"].items():
        assert of_file["p_values"][question] == pytest.approx(p_value, abs=0.05)


def test_drift__files_that_cannot_be_compared(feature_onnx, image_onnx, feature_cache, photographs, tmp_path):
    with pytest.raises(UlfineError, match="takes features"):
        drift(model=feature_onnx, inputs=[photographs])
    with pytest.raises(UlfineError, match="takes images"):
        drift(model=image_onnx, inputs=[feature_cache])
    with pytest.raises(UlfineError, match="no model at"):
        drift(model=tmp_path / "gone.onnx", inputs=[photographs])
    for text, words in ((None, "does not remember"), ("{", "damaged reference"), ('{"rows": 1}', "damaged reference")):
        model = onnx.load(feature_onnx)
        kept = [(item.key, item.value) for item in model.metadata_props if item.key not in ("reference", KEY)]
        kept += [] if text is None else [("reference", text)]
        onnx.helper.set_model_props(model, dict(kept))
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(UlfineError, match=words):
            drift(model=tmp_path / "other.onnx", inputs=[feature_cache])


def test_drift__page(browser, pixel_run, photographs, tmp_path):
    """New pictures beside known ones: the page shows which there are more of, and asks nobody."""
    generator = np.random.default_rng(0)
    place = tmp_path / "new <b>"
    place.mkdir()
    for number, image in enumerate(find_images(photographs)):
        to_picture(image).save(place / f"{number}.png")
        Image.fromarray(generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(place / f"noise-{number}.png")
    found = drift(model=pixel_run, inputs=[place], out=tmp_path / "drift.html")
    assert found["out"] == str(tmp_path / "drift.html")
    grown = found["clusters"][0]
    assert grown["new"] > 0.3 > grown["former"]
    assert all("noise" in path for path in grown["paths"])
    page = look(browser, tmp_path / "drift.html")
    assert "Not alike" in page.run("return document.getElementById('verdict').textContent")
    assert page.run("return document.querySelectorAll('.shot img').length") >= 10 + len(grown["paths"])
    assert page.broken_pictures == 0
    assert page.complaints == []
    assert page.asked == [(tmp_path / "drift.html").as_uri()]
