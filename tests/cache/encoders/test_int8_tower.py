"""`--precision int8`: the encoder against itself in fp32, and where it is refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ulfine_cache.encoders import int8_tower
from ulfine_cache.encoders.encoder import ClipEncoder, load_encoder
from ulfine_cache.encoders.int8_layers import Int8Linear
from ulfine_cache.errors import UlfineError, UsageError

needs_vnni = pytest.mark.skipif(
    not int8_tower.multiplies_int8(torch.device("cpu")), reason="this CPU has no VNNI instructions"
)
VISION = {"image_size": 32, "layers": 3, "width": 64, "head_width": 16, "patch_size": 8}


@pytest.fixture(scope="module")
def weights(register, new_weights, tmp_path_factory):
    """A vision transformer with random weights, by name and file."""
    name = register("ulfine-int8-test", vision_cfg=VISION, text_cfg={"vocab_size": 49408})
    state = new_weights(name)
    path = tmp_path_factory.mktemp("int8") / "weights.safetensors"
    save_file(state, path)
    return name, path, state


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)


def cosines(name, path, pixels):
    exact, rounded = (ClipEncoder.load(name, str(path), "cpu", kind).encode_images(pixels) for kind in ("fp32", "int8"))
    return (exact * rounded).sum(axis=1)


@needs_vnni
def test_int8__features_stay_near_those_in_fp32(weights, pixels):
    found = cosines(*weights[:2], pixels)
    assert found.min() > 0.995
    assert found.max() < 1 - 1e-7  # it is something else


@needs_vnni
@pytest.mark.parametrize("model", ["builtin:tiny", "timm:test_vit"])
def test_int8__convolutions_and_other_transformers(model, pixels, tmp_path):
    import timm

    path = tmp_path / "weights.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(timm.create_model("test_vit", num_classes=0).state_dict(), path)
    encoder = ClipEncoder.load(model, str(path), "cpu", "fp32")
    pictures = np.random.default_rng(0).integers(0, 256, (3, *encoder.preprocess.size, 3), np.uint8)
    assert cosines(model, path, pictures).min() > 0.99


@needs_vnni
def test_int8__uneven_channels_are_evened_out(weights, pixels, tmp_path):
    """The same function with two channels of each normalisation 300 times as large, and their weights smaller."""
    name, path, state = weights
    state = {key: tensor.clone() for key, tensor in state.items()}
    for key in [key for key in state if key.startswith("visual") and (".ln_1." in key or ".ln_2." in key)]:
        state[key][:2] *= 300
    for key in [key for key in state if key.endswith(("attn.in_proj_weight", "mlp.c_fc.weight")) and "visual" in key]:
        state[key][:, :2] /= 300
    save_file(state, tmp_path / "uneven.safetensors")
    exact = ClipEncoder.load(name, str(path), "cpu", "fp32").encode_images(pixels)
    rounded = ClipEncoder.load(name, str(tmp_path / "uneven.safetensors"), "cpu", "int8").encode_images(pixels)
    assert (exact * rounded).sum(axis=1).min() > 0.995


@needs_vnni
def test_int8__an_image_does_not_depend_on_its_batch(weights, pixels):
    encoder = ClipEncoder.load(*map(str, weights[:2]), "cpu", "int8")
    whole = encoder.encode_images(pixels)
    for size in (1, 2, 4):
        parts = [encoder.encode_images(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        np.testing.assert_array_equal(whole, np.concatenate(parts))


@needs_vnni
def test_int8__projection_and_text_are_those_of_fp32(weights, pixels):
    encoder = ClipEncoder.load(*map(str, weights[:2]), "cpu", "int8")
    exact = ClipEncoder.load(*map(str, weights[:2]), "cpu", "fp32")
    np.testing.assert_array_equal(encoder.encode_text(["a"]), exact.encode_text(["a"]))
    features, before = encoder.encode_both(pixels)
    np.testing.assert_allclose(features, encoder.encode_images(pixels), atol=1e-5)
    assert (before * exact.encode_both(pixels)[1]).sum(axis=1).min() > 0.995


def test_int8__an_encoder_of_other_layers_is_refused():
    grouped = nn.Sequential(nn.Conv2d(3, 32, 3), nn.Conv2d(32, 256, 3, groups=4), nn.Conv2d(256, 16, 1))
    with pytest.raises(UlfineError, match=r"net cannot be encoded in int8: only \d+% of its multiplications are in"):
        int8_tower.to_int8(grouped, torch.rand(1, 3, 32, 32), "net")


def test_int8__layers_whose_weights_others_read_stay():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.read, self.called, self.head = nn.Linear(64, 64), nn.Linear(64, 256), nn.Linear(256, 64)

        def forward(self, pixels):
            rows = pixels.flatten(2).transpose(1, 2)
            return self.head(self.called(nn.functional.linear(rows, self.read.weight)).mean(dim=1))

    tower = int8_tower.to_int8(Reader(), torch.rand(1, 64, 4, 4), "reader")
    kinds = {name: type(layer) for name, layer in tower.named_children()}
    assert kinds == {"read": nn.Linear, "called": Int8Linear, "head": nn.Linear}


def test_int8__other_devices_and_processors(monkeypatch, weights):
    with pytest.raises(
        UsageError, match="precision int8 is for CPUs, not for cuda: give --precision auto, or --device"
    ):
        int8_tower.check_int8(torch.device("cuda"))
    made = ClipEncoder.load(*map(str, weights[:2]), "cpu", "fp32")
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with pytest.raises(UlfineError, match="needs a CPU with VNNI instructions"):
        ClipEncoder.load("builtin:tiny", "", "cpu", "int8")
    attributes = {
        "model": made.model_name,
        "pretrained": made.pretrained,
        "weights_hash": made.weights_hash,
        "precision": "int8",
    }
    notes = []

    class Noting:
        def note(self, message):
            notes.append(message)

        def update(self, *_, **__):
            pass

    assert load_encoder(attributes, "cpu", progress=Noting()).precision in ("fp32", "bf16")
    assert any("encoded in int8, which this device does not multiply" in note for note in notes)
