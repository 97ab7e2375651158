"""Descriptions beside a checkpoint: open_clip's and transformers', of this model or of another."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cache.encoders.conftest import SMALL_CONFIG
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.errors import UlfineError
from ulfine_cache.preprocess import Preprocess

CLIP_CONFIG = {
    "model_type": "clip",
    "projection_dim": 24,
    "text_config": {"hidden_size": 16, "hidden_act": "gelu"},
    "vision_config": {"hidden_size": 32, "num_hidden_layers": 2, "patch_size": 16, "hidden_act": "gelu"},
}
PROCESSOR = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.2, 0.3, 0.4],
    "resample": 2,
    "size": {"shortest_edge": 224},
}


@pytest.fixture
def beside(small, state, tmp_path, recorder):
    """Load the small model with files beside its checkpoint."""
    torch.save(state, tmp_path / "w.pt")

    def load(model=small, **files):
        for name, content in files.items():
            (tmp_path / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
        return ClipEncoder.load(model, str(tmp_path / "w.pt"), "cpu", "fp32", progress=recorder)

    return load


def test_open_clip_config(beside, recorder):
    pictures = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "resize_mode": "squash", "size": 99}
    encoder = beside(open_clip_config={"model_cfg": SMALL_CONFIG, "preprocess_cfg": pictures})
    assert encoder.preprocess == Preprocess((32, 32), (0.5,) * 3, (0.25,) * 3, "bilinear", "squash")
    said = "pictures: mean 0.5, std 0.25, bilinear, squashed to fit (open_clip_config.json beside the file)"
    assert said in recorder.notes


@pytest.mark.parametrize("model", [{"embed_dim": 32}, {"vision_cfg": {"width": 64}}, {"text_cfg": {"width": 32}}])
def test_open_clip_config__of_another_model_says_nothing(beside, model):
    config = {key: value | model.get(key, {}) if isinstance(value, dict) else model.get(key, value)
              for key, value in SMALL_CONFIG.items()}  # fmt: skip
    encoder = beside(open_clip_config={"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    assert encoder.preprocess.mean == (0.48145466, 0.4578275, 0.40821073)


def test_processor_of_transformers(beside, recorder):
    encoder = beside(config=CLIP_CONFIG, preprocessor_config=PROCESSOR)
    assert encoder.preprocess == Preprocess((32, 32), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bilinear")
    assert any(note.endswith("(preprocessor_config.json beside the file)") for note in recorder.notes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"resample": 3}, {"interpolation": "bicubic"}),
        ({"size": 224, "crop_size": 224}, {}),
        ({"size": {"shortest_edge": 256}}, {"resize": (37, 37)}),
        ({"size": {"height": 224, "width": 224}, "do_center_crop": False}, {"resize_mode": "squash"}),
        ({"do_normalize": False}, {"mean": (0, 0, 0), "std": (1, 1, 1)}),
    ],
)
def test_processor_of_transformers__what_it_may_say(beside, changes, expected):
    plain = {"size": (32, 32), "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "interpolation": "bilinear"}
    encoder = beside(config=CLIP_CONFIG, processor_config={"image_processor": PROCESSOR | changes})
    assert encoder.preprocess == Preprocess(**(plain | expected))


def test_processor_of_transformers__other_models_say_nothing(beside):
    for config in (CLIP_CONFIG | {"model_type": "vit"}, CLIP_CONFIG | {"projection_dim": 512}):
        encoder = beside(config=config, preprocessor_config=PROCESSOR)
        assert encoder.preprocess.mean == (0.48145466, 0.4578275, 0.40821073)


def test_refusals(beside, tmp_path):
    with pytest.raises(UlfineError, match=r"preprocessor_config.json makes pictures in a way that is not known here"):
        beside(config=CLIP_CONFIG, preprocessor_config=PROCESSOR | {"resample": 1})
    with pytest.raises(UlfineError, match=r"open_clip_config.json cannot be read.*fetch it again, or move"):
        beside(open_clip_config="<html>")


def with_activation(config, act):
    return {
        key: value | {"hidden_act": act} if key in ("text_config", "vision_config") else value
        for key, value in config.items()
    }


@pytest.mark.parametrize("kind", ["open_clip", "transformers", "transformers by default"])
def test_quick_gelu__is_used_where_a_description_says_so(beside, register, state, tmp_path, recorder, kind):
    quick = register("ulfine-small-activation-test", quick_gelu=True)
    if kind == "open_clip":
        files = {"open_clip_config": {"model_cfg": SMALL_CONFIG | {"quick_gelu": True}}}
    else:
        config = with_activation(CLIP_CONFIG, "quick_gelu")
        if kind != "transformers":
            for tower in ("text_config", "vision_config"):
                config[tower] = {key: value for key, value in config[tower].items() if key != "hidden_act"}
        files = {"config": config}
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    (tmp_path / "alone").mkdir()
    torch.save(state, tmp_path / "alone" / "w.pt")
    wanted = ClipEncoder.load(quick, str(tmp_path / "alone" / "w.pt"), "cpu", "fp32").encode_images(pixels)
    plain = beside().encode_images(pixels)
    found = beside(**files).encode_images(pixels)
    np.testing.assert_array_equal(found, wanted)
    assert np.abs(found - plain).max() > 1e-3
    assert any(note.startswith("w.pt was trained with QuickGELU (") for note in recorder.notes)


def test_quick_gelu__is_refused_where_a_description_says_otherwise(beside, register):
    quick = register("ulfine-small-other-test-quickgelu", quick_gelu=True)
    with pytest.raises(UlfineError, match=r"without QuickGELU \(config.json beside it says so\): give --model ulf"):
        beside(quick, config=CLIP_CONFIG)


def test_image_of_a_folder_of_transformers(register, transformers_state, tmp_path):
    """All of it at once: layout, activation, pictures."""
    name = register("ulfine-small-folder-test")
    (tmp_path / "config.json").write_text(json.dumps(with_activation(CLIP_CONFIG, "quick_gelu")))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    torch.save(transformers_state, tmp_path / "pytorch_model.bin")
    with pytest.raises(UlfineError, match=rf"is a folder: --pretrained takes the file of weights, such as {tmp_path}"):
        ClipEncoder.load(name, str(tmp_path), "cpu")
    encoder = ClipEncoder.load(name, str(tmp_path / "pytorch_model.bin"), "cpu", "fp32")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    assert encoder.encode_images(encoder.preprocess.to_pixels(picture)[None]).shape == (1, 24)
    assert encoder.preprocess.mean == (0.5, 0.4, 0.3)
    with pytest.raises(UlfineError, match=r"has no open_clip_config.json.*give --model NAME --pretrained FILE"):
        ClipEncoder.load(f"local-dir:{tmp_path}", "", "cpu")
