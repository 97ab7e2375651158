"""Features before the projection, for each kind of image tower that open_clip has."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.encoders.projection import split_projection
from ulfine_cache.errors import UlfineError

TEXT = {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
TOWERS = {
    "transformer": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "patch_size": None},
    "convnext": {"timm_model_name": "test_convnext", "timm_pool": "", "timm_proj": "linear", "image_size": 64},
    "fastvit-like": {"timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": None, "image_size": 64},
    "eva-like": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": None, "image_size": 160},
    "mlp": {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "mlp", "image_size": 160},
    "siglip": {"timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": "none", "image_size": 160},
}
WIDTHS = {"transformer": 32, "resnet": 256, "convnext": 64, "fastvit-like": 64, "eva-like": 64, "mlp": 48}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Load an encoder of each kind with random weights, when it is asked for."""
    folder, made = tmp_path_factory.mktemp("towers"), {}

    def load(kind, precision="fp32"):
        if (kind, precision) not in made:
            name = f"ulfine-tower-{kind}"
            width = 64 if kind == "siglip" else 24
            config = {"embed_dim": width, "vision_cfg": TOWERS[kind], "text_cfg": TEXT}
            (folder / f"{name}.json").write_text(json.dumps(config))
            open_clip.add_model_config(folder / f"{name}.json")
            with torch.random.fork_rng():
                torch.manual_seed(0)
                model = open_clip.create_model(name)
            save_file(model.state_dict(), folder / f"{name}.safetensors")
            made[kind, precision] = ClipEncoder.load(name, str(folder / f"{name}.safetensors"), "cpu", precision)
        return made[kind, precision]

    return load


def pixels(encoder, count=5, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *encoder.preprocess.size, 3), np.uint8)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("kind", list(WIDTHS))
def test_encode_both__projects_to_the_features(encoders, kind):
    encoder = encoders(kind)
    batch = pixels(encoder)
    expected = encoder.encode_images(batch)
    features, before = encoder.encode_both(batch)
    assert features.dtype == before.dtype == np.float32
    assert before.shape == (5, WIDTHS[kind])
    np.testing.assert_allclose(features, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(before, axis=1), 1, atol=1e-5)
    # The encoder itself is as it was.
    np.testing.assert_array_equal(encoder.encode_images(batch), expected)


def test_encode_both__before_the_projection_of_open_clip(encoders):
    """Computed by hand: a vision transformer with `proj` taken away."""
    encoder = encoders("transformer")
    model = open_clip.create_model(encoder.model_name, pretrained=encoder.pretrained).eval()
    batch = pixels(encoder)
    visual, projection = model.visual, model.visual.proj.detach().numpy()
    visual.proj = None
    with torch.no_grad():
        before = visual(torch.from_numpy(encoder.preprocess.normalise(batch))).numpy()
    features, ours = encoder.encode_both(batch)
    np.testing.assert_allclose(ours, unit(before), atol=1e-6)
    np.testing.assert_allclose(features, unit(before @ projection), atol=1e-6)
    text = encoder.encode_text(["a red fox", "a cat"])
    mapped = encoder.map_text(text)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, unit(text @ projection.T), atol=1e-6)


def test_encode_both__resnets_attention_pooling(encoders):
    """Its last layer has a bias and is never called: the weights are read by the attention."""
    encoder = encoders("resnet")
    model = open_clip.create_model(encoder.model_name, pretrained=encoder.pretrained).eval()
    batch = torch.from_numpy(encoder.preprocess.normalise(pixels(encoder)))
    last = model.visual.attnpool.c_proj
    with torch.no_grad():
        last.bias += 0.3
        before = split_projection(model, batch[:1], "").before(batch)
        projected = before @ last.weight.T + last.bias
        np.testing.assert_allclose(projected.numpy(), model.encode_image(batch).numpy(), atol=1e-5)


def test_map_text__gives_the_same_products_up_to_a_factor(encoders):
    encoder = encoders("convnext")
    text = unit(np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32))
    features, before = encoder.encode_both(pixels(encoder, 6))
    ratio = (before @ encoder.map_text(text).T) / (features @ text.T)
    # One factor for each row times one for each class.
    np.testing.assert_allclose(ratio / ratio[:, :1], np.broadcast_to(ratio[0] / ratio[0, 0], ratio.shape), rtol=1e-3)


@pytest.mark.parametrize("kind", ["transformer", "resnet"])
def test_encode_both__bf16(encoders, kind):
    low, high = encoders(kind, "bf16"), encoders(kind)
    batch = pixels(low)
    for ours, theirs in zip(low.encode_both(batch), high.encode_both(batch), strict=True):
        assert (ours * theirs).sum(axis=1).min() > 0.99
    assert (low.encode_both(batch)[0] * low.encode_images(batch)).sum(axis=1).min() > 0.9999


def test_encode_both__many_threads(encoders):
    encoder = encoders("convnext")
    batches = [pixels(encoder, 2, seed) for seed in range(12)]
    expected = [encoder.encode_both(batch) for batch in batches]
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(encoder.encode_both, batches))
        plain = list(pool.map(encoder.encode_images, batches))
    for (features, before), ours, only in zip(expected, made, plain, strict=True):
        np.testing.assert_allclose(ours[0], features, atol=1e-6)
        np.testing.assert_allclose(ours[1], before, atol=1e-6)
        np.testing.assert_allclose(only, features, atol=1e-6)
    assert torch.get_num_threads() == threads


def test_encode_both__refused_where_the_last_step_is_not_linear(encoders):
    encoder = encoders("siglip")
    message = "the last step of ulfine-tower-siglip is not linear, .*leave --pre-projection out"
    with pytest.raises(UlfineError, match=message):
        encoder.encode_both(pixels(encoder))
    with pytest.raises(UlfineError, match=message):
        encoder.map_text(np.eye(64, dtype=np.float32))
    assert encoder.encode_images(pixels(encoder)).shape == (5, 64)


def test_encode_both__builtin():
    encoder = ClipEncoder.load("builtin:tiny", "", "cpu", "fp32")
    batch = pixels(encoder)
    features, before = encoder.encode_both(batch)
    np.testing.assert_allclose(features, encoder.encode_images(batch), atol=1e-6)
    assert encoder.map_text(encoder.encode_text(["a seven"])).shape == (1, before.shape[1])


def test_split_projection__a_tower_without_linear_layers():
    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.visual = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.Flatten())

        def encode_image(self, batch):
            return self.visual(batch)

    with pytest.raises(UlfineError, match="not linear"):
        split_projection(Tower().eval(), torch.ones(1, 3, 2, 2), "x")


def test_split_projection__something_follows_the_last_linear_layer():
    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.visual = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 12), torch.nn.ReLU())

        def encode_image(self, batch):
            return self.visual(batch)

    with pytest.raises(UlfineError, match="not linear"):
        split_projection(Tower().eval(), torch.linspace(-1, 1, 12).view(1, 3, 2, 2), "x")
