"""Runs and exported files classify the same inputs alike; what cannot be read is named and ends nothing."""

import csv

import numpy as np
import pytest

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache
from ulfine_exports import predict as module
from ulfine_exports.predict import predict
from ulfine_exports.predicting.feature_inputs import feature_blocks


def test_predict__images_by_run_and_by_file_alike(pixel_run, pixel_onnx, photographs):
    by_run = predict(model=pixel_run, inputs=[photographs / "test"])
    by_file = predict(model=pixel_onnx, inputs=[photographs / "test"])
    assert by_run.paths == by_file.paths == [str(path) for path in sorted((photographs / "test").rglob("*.png"))]
    assert np.abs(by_run.probabilities - by_file.probabilities).max() < 1e-4
    assert by_run.labels == by_file.labels
    assert np.allclose(by_file.confidences, by_file.probabilities.max(axis=1))


def test_predict__features_by_run_and_by_file_alike(feature_run, feature_onnx, feature_cache, feature_file):
    by_run = predict(model=feature_run, inputs=[feature_cache])
    by_file = predict(model=feature_onnx, inputs=[feature_cache])
    by_npz = predict(model=feature_onnx, inputs=[feature_file])
    assert by_run.paths == by_file.paths == by_npz.paths == FeatureCache.open(feature_cache).paths
    assert np.abs(by_run.probabilities - by_file.probabilities).max() < 1e-4
    # The cache holds float16, the file float32.
    assert np.abs(by_npz.probabilities - by_file.probabilities).max() < 0.05


def test_predict__features_of_a_cache_of_images(pixel_run, photographs):
    by_cache = predict(model=pixel_run, inputs=[pixel_run.parent / "cache"])
    by_image = predict(model=pixel_run, inputs=[photographs])
    of_image = dict(zip(by_image.paths, by_image.labels, strict=True))
    of_cache = {str(photographs / path): label for path, label in zip(by_cache.paths, by_cache.labels, strict=True)}
    assert of_cache.keys() == of_image.keys()
    assert np.mean([of_cache[path] == label for path, label in of_image.items()]) > 0.9


def test_predict__any_batch(pixel_onnx, photographs, monkeypatch):
    expected = predict(model=pixel_onnx, inputs=[photographs]).probabilities
    monkeypatch.setattr(module, "BATCH", 5)
    assert np.allclose(predict(model=pixel_onnx, inputs=[photographs]).probabilities, expected, atol=1e-5)


def test_predict__unreadable_inputs_are_named(pixel_onnx, photographs, tmp_path):
    good = sorted(photographs.rglob("*.png"))[0]
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    (tmp_path / "cut.png").write_bytes(good.read_bytes()[:60])
    (tmp_path / "empty").mkdir()
    (tmp_path / "readme.txt").write_text("not looked at inside a folder")
    inputs = [tmp_path, good, tmp_path / "none.jpg", tmp_path / "empty"]
    found = predict(model=pixel_onnx, inputs=inputs, out=tmp_path / "p.csv")
    assert found.paths == [str(good)]
    reasons = {entry["path"].rsplit("/", 1)[-1]: entry["reason"] for entry in found.unreadable}
    assert reasons.keys() == {"broken.jpg", "cut.png", "none.jpg", "empty"}
    assert reasons["broken.jpg"] == "not an image"
    assert reasons["none.jpg"] == "no such file or directory"
    assert reasons["empty"] == "no images in this folder"
    assert all("\n" not in reason for reason in reasons.values())
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 2


def test_predict__nothing_readable(pixel_onnx, tmp_path):
    (tmp_path / "none.jpg").write_bytes(b"")
    found = predict(model=pixel_onnx, inputs=[tmp_path / "none.jpg"], out=tmp_path / "p.csv")
    assert (found.out, (tmp_path / "p.csv").exists()) == (None, False)
    assert found.probabilities.shape == (0, 3)
    assert found.labels == []
    assert found.figures()["predictions"] == []


def test_predict__an_image_named_twice_comes_once(pixel_onnx, photographs):
    folder = photographs / "test" / "circle"
    found = predict(model=pixel_onnx, inputs=[folder, folder / "0.png"])
    assert len(found.paths) == 4


def test_predict__table(feature_onnx, feature_file, tmp_path):
    found = predict(model=feature_onnx, inputs=[feature_file], out=tmp_path / "p.csv")
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "confidence", "ash", "birch", "cedar", "date palm"]
    assert [row["label"] for row in rows] == found.labels
    assert [float(row["cedar"]) for row in rows] == pytest.approx(found.probabilities[:, 2].tolist(), abs=1e-6)
    predict(model=feature_onnx, inputs=[feature_file], out=tmp_path / "p.parquet")
    parquet = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "p.parquet")
    assert parquet["label"].to_pylist() == found.labels


def test_predict__figures(feature_onnx, feature_file):
    figures = predict(model=feature_onnx, inputs=[feature_file]).figures()
    assert figures["device"].startswith("cpu") or figures["device"].startswith("cuda")
    assert figures["predictions"][0].keys() == {"path", "label", "confidence"}
    assert figures["unreadable"] == []


def test_predict__what_does_not_fit(feature_run, feature_onnx, pixel_onnx, feature_file, photographs, tmp_path):
    image = sorted(photographs.rglob("*.png"))[0]
    np.savez(tmp_path / "wide.npz", features=np.ones((2, 17), np.float32))
    for model, inputs, message in [
        (feature_onnx, [image], "takes features, not images"),
        (feature_run, [image], "made elsewhere.*give features"),
        (pixel_onnx, [feature_file], "takes images, not features"),
        (feature_onnx, [tmp_path / "wide.npz"], "17"),
        (feature_run, [tmp_path / "wide.npz"], "17"),
        (feature_onnx, [feature_file, image], "one after the other"),
        (feature_onnx, [], "nothing to predict"),
        (tmp_path / "none", [image], "no model at"),
        (tmp_path / "none.onnx", [image], "does not exist"),
        (tmp_path, [image], "holds no run"),
        (image, [image], "no ONNX model"),
    ]:
        with pytest.raises(UlfineError, match=message) as caught:
            predict(model=model, inputs=inputs)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        predict(model=feature_onnx, inputs=[feature_file], out=tmp_path / "p.txt")


def test_predict__cache_of_another_encoder(pixel_run, tmp_path):
    with pytest.raises(UlfineError, match="made by another encoder"):
        next(feature_blocks(pixel_run.parent / "cache", "0" * 64))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"rows": np.ones((2, 3))}, "no array 'features'"),
        ({"features": np.ones((2, 3), int)}, "floating-point"),
        ({"features": np.ones(3)}, "floating-point"),
        ({"features": np.ones((2, 3)), "paths": np.array(["a"])}, "1 path for 2 rows"),
        ({"features": np.array([object()])}, "cannot be read"),
    ],
)
def test_feature_blocks__wrong_files(tmp_path, arrays, message):
    np.savez(tmp_path / "f.npz", **arrays)
    with pytest.raises(UlfineError, match=message):
        next(feature_blocks(tmp_path / "f.npz", ""))


def test_feature_blocks__not_an_archive(tmp_path):
    (tmp_path / "f.npz").write_bytes(b"nothing")
    with pytest.raises(UlfineError, match="cannot be read"):
        next(feature_blocks(tmp_path / "f.npz", ""))


def test_feature_blocks__views_and_blocks(tmp_path, monkeypatch):
    from ulfine_exports.predicting import feature_inputs

    rows = np.random.default_rng(0).standard_normal((10, 2, 3))
    np.savez(tmp_path / "f.npz", features=rows)
    monkeypatch.setattr(feature_inputs, "BLOCK", 4)
    blocks = list(feature_blocks(tmp_path / "f.npz", ""))
    assert [len(names) for names, _ in blocks] == [4, 4, 2]
    assert np.allclose(np.concatenate([block for _, block in blocks]), rows[:, 0])
    assert blocks[2][0] == ["row 8", "row 9"]
