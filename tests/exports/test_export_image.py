"""`--input image`: raw pictures of any size in, the answers of the Python pipeline out; one crop or five."""

import io

import numpy as np
import onnx
import pytest
from PIL import Image

from ulfine_cache.errors import UlfineError, UsageError
from ulfine_exports.export import export_onnx
from ulfine_exports.gate import preparation
from ulfine_exports.gate.parity_rows import picture_batches
from ulfine_exports.gate.run_rows import RunRows
from ulfine_exports.inference.pictures import by_size
from ulfine_exports.metadata import ExportMetadata
from ulfine_exports.onnx_classifier import OnnxClassifier
from ulfine_exports.predict import predict
from ulfine_fast.fitting import fit
from ulfine_fast.run import load_run


@pytest.fixture(scope="module")
def fused_run(pixel_run, tmp_path_factory):
    """A run that fuses the logits of text and probe."""
    out = tmp_path_factory.mktemp("fused") / "run"
    return fit(cache=pixel_run.parent / "cache", out=out, method="ulfine").path


@pytest.fixture(scope="module")
def image_export(fused_run):
    path = fused_run.parent / "image.onnx"
    return path, export_onnx(run=fused_run, onnx=path, input="image")


@pytest.fixture(scope="module")
def five_crop_export(fused_run):
    path = fused_run.parent / "five.onnx"
    return path, export_onnx(run=fused_run, onnx=path, input="image", views="five-crop")


@pytest.fixture(scope="module")
def mixed(photographs, tmp_path_factory):
    """Pictures of several sizes, turned, and transparent."""
    folder = tmp_path_factory.mktemp("mixed")
    pictures = [Image.open(file).convert("RGB") for file in sorted(photographs.rglob("*.png"))[:8]]
    for number, picture in enumerate(pictures):
        picture.resize((90 + 40 * (number % 3), 70 + 25 * (number % 2))).save(folder / f"{number}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    pictures[-1].save(folder / "turned.jpg", exif=exif)
    pictures[-1].putalpha(100)
    pictures[-1].save(folder / "transparent.png")
    return folder


def metadata(path):
    return ExportMetadata.from_props({item.key: item.value for item in onnx.load(path).metadata_props}, path.name)


def test_export_onnx__image_says_what_preprocessing_inside_changes(image_export):
    path, figures = image_export
    said = figures["preparation"]
    assert 0 <= said["mean_pixel_difference"] <= said["largest_pixel_difference"] < 6
    assert said["largest_difference"] <= said["tolerance"] == 0.01
    assert figures["parity"]["largest_difference"] <= 1e-4
    assert {1, 2, 7} <= set(figures["parity"]["batches"])
    assert figures["parity"]["source"] == "test rows and synthetic rows"
    stored = metadata(path)
    assert (stored.input, stored.views) == ("image", "center")
    assert stored.preparation_tolerance == 0.01
    assert stored.preparation_largest_difference >= said["largest_difference"]
    assert stored.preparation_largest_pixel_difference == said["largest_pixel_difference"]


def test_export_onnx__image_answers_like_the_run(image_export, fused_run, mixed):
    expected = predict(model=fused_run, inputs=[mixed])
    found = predict(model=image_export[0], inputs=[mixed])
    assert found.paths == expected.paths
    assert len(found.paths) == 10
    assert np.abs(found.probabilities - expected.probabilities).max() < 0.01
    assert expected.probabilities.std(axis=0).max() > 0.1


def test_export_onnx__five_crops_answer_like_the_run_on_five_crops(five_crop_export, fused_run, mixed):
    centre = predict(model=fused_run, inputs=[mixed])
    expected = predict(model=fused_run, inputs=[mixed], views="five-crop")
    found = predict(model=five_crop_export[0], inputs=[mixed])
    assert np.abs(found.probabilities - expected.probabilities).max() < 0.01
    assert np.abs(centre.probabilities - expected.probabilities).max() > 0.001
    assert metadata(five_crop_export[0]).views == "five-crop"


def test_export_onnx__parts_add_up_to_the_logits(image_export):
    import onnxruntime

    path, figures = image_export
    assert figures["outputs"] == ["probabilities", "logits", "logits_text", "logits_probe"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (3, 50, 70, 3), dtype=np.uint8)
    _, logits, text, probe = session.run(None, {"image": image})
    assert np.allclose(text + probe, logits, atol=1e-3)
    assert np.abs(text).max() > 0.1
    assert np.abs(probe).max() > 0.1


def test_export_onnx__image_same_bytes_and_nothing_of_this_machine(image_export, fused_run, tmp_path):
    path, _ = image_export
    export_onnx(run=fused_run, onnx=tmp_path / "again.onnx", input="image")
    content = path.read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == content
    assert str(path.parent).encode() not in content
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_export_onnx__too_much_of_a_difference_writes_nothing(fused_run, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "IMAGE_TOLERANCE", 1e-12)
    with pytest.raises(UlfineError, match="nothing was written: preprocessing inside the graph") as caught:
        export_onnx(run=fused_run, onnx=tmp_path / "m.onnx", input="image")
    assert "--input pixels" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_predict_proba__pictures_in_whatever_form_and_order(image_export, mixed):
    classifier = OnnxClassifier(image_export[0], device="cpu")
    files = sorted(mixed.iterdir())
    expected = classifier.predict_proba(files)
    assert np.allclose(classifier.predict_proba(files[::-1])[::-1], expected, atol=1e-5)
    assert np.allclose(classifier.predict_proba(files, batch_size=1), expected, atol=1e-5)
    assert np.array_equal(classifier.predict_proba([file.read_bytes() for file in files]), expected)
    one = np.asarray(Image.open(files[0]).convert("RGB"))[None]
    assert np.allclose(classifier.predict_proba(one), expected[:1], atol=1e-5)
    assert classifier.predict_proba([]).shape == (0, 3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 3, 40, 40), np.uint8), "image of shape"),
        (np.zeros((40, 40, 3), np.uint8), "image of shape"),
        (np.zeros((1, 0, 40, 3), np.uint8), "image of shape"),
        (np.zeros((1, 40, 40, 3), np.float32), "takes uint8 images, not float32"),
    ],
)
def test_predict_proba__what_does_not_fit(image_export, images, message):
    with pytest.raises(UlfineError, match=message):
        OnnxClassifier(image_export[0], device="cpu").predict_proba(images)


def test_predict__views_are_for_runs(image_export, fused_run, mixed):
    with pytest.raises(UsageError, match="is for runs"):
        predict(model=image_export[0], inputs=[mixed], views="five-crop")
    with pytest.raises(UsageError, match="views='ten' cannot be used: choose auto, center or five-crop"):
        predict(model=fused_run, inputs=[mixed], views="ten")


def test_predict__a_broken_picture_does_not_end_the_job(image_export, mixed, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = predict(model=image_export[0], inputs=[mixed / "0.png", tmp_path / "broken.png", mixed / "1.png"])
    assert len(found.paths) == 2
    assert "broken" in found.unreadable[0]["path"]


def shapes(batches):
    return [(places, batch.shape[:3]) for places, batch in batches]


def test_by_size__groups_and_bounds():
    pictures = [np.zeros((size, 4, 3), np.uint8) for size in (2, 3, 2, 2, 3)]
    assert shapes(by_size(pictures, 2)) == [([0, 2], (2, 2, 4)), ([1, 4], (2, 3, 4)), ([3], (1, 2, 4))]
    assert shapes(by_size(pictures, 9, budget=30)) == [
        ([0], (1, 2, 4)),
        ([1], (1, 3, 4)),
        ([2, 3], (2, 2, 4)),
        ([4], (1, 3, 4)),
    ]


def test_predict_proba__sixteen_bits(image_export):
    grey = Image.fromarray((np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16))
    buffer = io.BytesIO()
    grey.save(buffer, format="PNG")
    eight = Image.fromarray((np.arange(64 * 64).reshape(64, 64) * 16 / 257).round().astype(np.uint8))
    classifier = OnnxClassifier(image_export[0], device="cpu")
    found = classifier.predict_proba([buffer.getvalue(), eight])
    assert np.abs(found[0] - found[1]).max() < 0.02


def test_picture_batches__photographs_in_their_own_sizes_and_awkward_ones(fused_run):
    found = picture_batches(RunRows(load_run(fused_run)), (32, 32))
    assert found.rows == 8 + 7 + 4
    assert all(batch.dtype == np.uint8 for batch in found.batches)
    assert [len(batch) for batch in found.batches[:8]] == [1] * 8
    assert {batch.shape[1:] for batch in found.batches[:8]} == {(70, 90, 3)}
    synthetic = {batch.shape[1:3] for batch in found.batches[8:]}
    assert any(height < 32 and width < 32 for height, width in synthetic)
    assert any(height > 16 * width for height, width in synthetic)
