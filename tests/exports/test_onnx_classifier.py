"""An exported file classifies with onnxruntime alone, whatever form the images come in."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.exports.gate.test_parity import WEIGHTS, softmax_model
from ulfine_cache.errors import UlfineError
from ulfine_exports.onnx_classifier import OnnxClassifier


@pytest.fixture(scope="module")
def by_features(feature_onnx):
    return OnnxClassifier(feature_onnx, device="cpu")


@pytest.fixture(scope="module")
def by_pixels(pixel_onnx):
    return OnnxClassifier(pixel_onnx, device="cpu")


def test_predict_proba__paths_bytes_and_pictures_alike(by_pixels, photographs):
    files = sorted(photographs.rglob("*.png"))[:5]
    expected = by_pixels.predict_proba(files)
    assert expected.shape == (5, 3)
    assert np.allclose(expected.sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(by_pixels.predict_proba([str(file) for file in files]), expected)
    assert np.array_equal(by_pixels.predict_proba([file.read_bytes() for file in files]), expected)
    assert np.array_equal(by_pixels.predict_proba([Image.open(file) for file in files]), expected)


def test_predict_proba__pictures_of_every_mode_as_a_person_sees_them(by_pixels, photographs):
    """A turned photograph, CMYK, and a transparent one come out as their files do."""
    picture = Image.open(sorted(photographs.rglob("*.png"))[0]).convert("RGB")
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(turned, format="JPEG", exif=exif)
    transparent = picture.convert("RGBA")
    transparent.putalpha(128)
    as_file = io.BytesIO()
    transparent.save(as_file, format="PNG")
    of_files = by_pixels.predict_proba([turned.getvalue(), as_file.getvalue()])
    of_pictures = by_pixels.predict_proba([Image.open(turned), transparent])
    assert np.allclose(of_files, of_pictures, atol=1e-5)
    assert by_pixels.predict_proba([picture.convert("CMYK"), picture.convert("L"), picture.convert("P")]).shape == (
        3,
        3,
    )


def test_predict_proba__more_than_eight_bits_by_the_rule_of_stage_one(by_pixels, photographs, tmp_path):
    """Twelve bits in sixteen, and floats, are the picture that they are in eight bits."""
    grey = np.asarray(Image.open(sorted(photographs.rglob("*.png"))[0]).convert("L"))
    # Whole steps, of which one is white: the range is found by the largest value.
    grey = np.where(grey == grey.max(), 255, grey).astype(np.uint8)
    twelve = Image.fromarray(np.rint(grey * (4095 / 255)).astype(np.uint16))
    twelve.save(tmp_path / "twelve.png")
    floats = Image.fromarray(grey.astype(np.float32) / 255 * 1.02)
    floats.save(tmp_path / "floats.tif")
    expected = by_pixels.predict_proba([Image.fromarray(grey)])
    given = [tmp_path / "twelve.png", twelve, (tmp_path / "twelve.png").read_bytes(), tmp_path / "floats.tif"]
    found = by_pixels.predict_proba(given)
    np.testing.assert_array_equal(found[:3], np.repeat(expected, 3, axis=0))
    np.testing.assert_allclose(found[3], expected[0], atol=0.05)


def test_predict_proba__any_batch_size(by_pixels, by_features, photographs):
    files = sorted(photographs.rglob("*.png"))[:7]
    expected = by_pixels.predict_proba(files)
    for size in (1, 2, 100):
        assert np.allclose(by_pixels.predict_proba(files, batch_size=size), expected, atol=1e-5)
    rows = np.random.default_rng(0).standard_normal((9, 16)).astype(np.float32)
    assert np.allclose(by_features.predict_proba(rows, batch_size=4), by_features.predict_proba(rows), atol=1e-5)
    with pytest.raises(UlfineError, match="at least 1"):
        by_features.predict_proba(rows, batch_size=0)


def test_predict_proba__nothing(by_pixels, by_features):
    assert by_pixels.predict_proba([]).shape == (0, 3)
    assert by_features.predict_proba(np.zeros((0, 16))).shape == (0, 4)


def test_predict_proba__normalised_pixels(by_pixels, photographs):
    file = sorted(photographs.rglob("*.png"))[0]
    pixels = by_pixels.preprocess.to_pixels(Image.open(file).convert("RGB"))[None]
    assert np.allclose(
        by_pixels.predict_proba(by_pixels.preprocess.normalise(pixels)), by_pixels.predict_proba([file]), atol=1e-6
    )


def test_predict_both__probabilities_are_the_softmax_of_the_logits(by_features):
    rows = np.random.default_rng(0).standard_normal((9, 16))
    probabilities, logits = by_features.predict_both(rows)
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.allclose(probabilities, exponents / exponents.sum(axis=1, keepdims=True), atol=1e-5)


def test_predict__names(by_features):
    rows = np.random.default_rng(0).standard_normal((9, 16))
    expected = [by_features.class_names[index] for index in by_features.predict_proba(rows).argmax(axis=1)]
    assert by_features.predict(rows) == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((3, 15)), r"takes features of shape \(N, 16\), not \(3, 15\)"),
        (np.zeros(16), "shape"),
        (np.zeros((3, 16), np.int64), "floating-point"),
        (np.full((3, 16), np.nan), "NaN"),
        (["a.jpg"], "takes features, not images"),
    ],
)
def test_predict_proba__what_does_not_fit_features(by_features, rows, message):
    with pytest.raises(UlfineError, match=message):
        by_features.predict_proba(rows)


def test_predict_proba__what_does_not_fit_pixels(by_pixels, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(UlfineError, match=r"broken\.jpg: not an image"):
        by_pixels.predict_proba([tmp_path / "broken.jpg"])
    with pytest.raises(UlfineError, match=r"none\.jpg: no such file"):
        by_pixels.predict_proba([tmp_path / "none.jpg"])
    with pytest.raises(UlfineError, match="image 0: empty file"):
        by_pixels.predict_proba([b""])
    with pytest.raises(UlfineError, match="brackets"):
        by_pixels.predict_proba("a.jpg")
    with pytest.raises(UlfineError, match="pixels of shape"):
        by_pixels.predict_proba(np.zeros((1, 16)))


def test_onnx_classifier__file_from_elsewhere(tmp_path):
    path = tmp_path / "foreign.onnx"
    path.write_bytes(softmax_model(WEIGHTS))
    with pytest.raises(UlfineError, match="only files written by `ulfine export`"):
        OnnxClassifier(path)


def test_onnx_classifier__cuda_where_there_is_none(feature_onnx, monkeypatch):
    from ulfine_exports.inference import providers

    monkeypatch.setattr(providers, "_cuda_obstacle", lambda: "no NVIDIA driver")
    with pytest.raises(UlfineError, match="onnxruntime cannot use CUDA"):
        OnnxClassifier(feature_onnx, device="cuda")
    assert OnnxClassifier(feature_onnx, device="auto").device == "cpu"


def test_onnx_classifier__imports_no_torch(feature_onnx, pixel_onnx, photographs, tmp_path):
    """Neither the class nor `ulfine predict FILE.onnx`, for features and for images, with a table written."""
    image = sorted(photographs.rglob("*.png"))[0]
    np.savez(tmp_path / "f.npz", features=np.ones((2, 16), np.float32))
    code = f"""
import sys
from pathlib import Path
from ulfine_exports import OnnxClassifier
from ulfine_exports.predict import predict
from ulfine_exports.info import info
OnnxClassifier({str(pixel_onnx)!r}).predict_proba([{str(image)!r}])
predict(model=Path({str(pixel_onnx)!r}), inputs=[Path({str(image)!r})], out=Path({str(tmp_path / "p.csv")!r})).figures()
predict(model=Path({str(feature_onnx)!r}), inputs=[Path({str(tmp_path / "f.npz")!r})])
info(target=Path({str(feature_onnx)!r}))
print([name for name in ("torch", "open_clip", "sklearn", "faiss", "torchvision") if name in sys.modules])
"""
    paths = [str(Path(place).resolve()) for place in sys.path if place]
    environment = {"PYTHONPATH": ":".join(paths), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout == "[]\n", done.stderr
    assert done.stderr == ""
