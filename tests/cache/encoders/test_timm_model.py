"""Image towers of timm as encoders without text, from files of random weights."""

import json

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from ulfine_cache.encoders.encoder import ClipEncoder, load_encoder
from ulfine_cache.encoders.picture_choice import PictureOptions
from ulfine_cache.encoders.timm_model import data_config_as_open_clip
from ulfine_cache.errors import UlfineError, UsageError
from ulfine_cache.feature_cache import FeatureCache

KINDS = ["test_vit", "test_convnext", "test_resnet"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Save one random model of each kind with its classifier, as timm's own files are: name -> (model, file)."""
    folder, saved = tmp_path_factory.mktemp("timm"), {}
    for name in KINDS:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = timm.create_model(name).eval()
        save_file(model.state_dict(), folder / f"{name}.safetensors")
        saved[name] = model, folder / f"{name}.safetensors"
    return saved


def load(checkpoints, name, **options):
    return ClipEncoder.load(f"timm:{name}", str(checkpoints[name][1]), "cpu", "fp32", **options)


@pytest.mark.parametrize("name", KINDS)
def test_load__pooled_features_of_pictures_as_timm_makes_them(checkpoints, name):
    encoder = load(checkpoints, name)
    model, file = checkpoints[name]
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 240, 3), np.uint8))
    config = timm.data.resolve_model_data_config(model)
    batch = timm.data.create_transform(**config, is_training=False)(picture)[None]
    pixels = encoder.preprocess.to_pixels(picture)[None]
    np.testing.assert_array_equal(encoder.preprocess.normalise(pixels), batch.numpy())
    with torch.no_grad():
        pooled = model.forward_head(model.forward_features(batch), pre_logits=True)
    expected = torch.nn.functional.normalize(pooled, dim=1).numpy()
    np.testing.assert_allclose(encoder.encode_images(pixels), expected, atol=1e-6)
    np.testing.assert_allclose(encoder.image_tower(batch).numpy(), expected, atol=1e-6)
    assert not any(name.startswith("whole") for name, _ in encoder.image_tower.named_parameters())
    assert encoder.pretrained == str(file.resolve())
    assert encoder.n_features == expected.shape[1]


def test_load__has_no_text_and_no_projection(checkpoints):
    encoder = load(checkpoints, "test_vit")
    assert not encoder.has_text
    with pytest.raises(UlfineError, match="timm:test_vit encodes images only"):
        encoder.encode_text(["a cat"])
    with pytest.raises(UlfineError, match="the last step of timm:test_vit is not linear"):
        encoder.encode_both(np.zeros((1, *encoder.preprocess.size, 3), np.uint8))


def test_load__bf16_keeps_an_fp32_tower(checkpoints):
    name, file = "test_resnet", str(checkpoints["test_resnet"][1])
    low = ClipEncoder.load(f"timm:{name}", file, "cpu", "bf16")
    assert {parameter.dtype for parameter in low.image_tower.parameters()} == {torch.float32}
    assert low.weights_hash == load(checkpoints, name).weights_hash


@pytest.mark.parametrize("wrapped", ["{}", "state_dict", "module.", "model._orig_mod.", "teacher"])
def test_load__other_ways_to_save_the_same_weights(checkpoints, tmp_path, wrapped):
    state = checkpoints["test_vit"][0].state_dict()
    if wrapped.endswith("."):
        state = {wrapped + name: tensor for name, tensor in state.items()}
    if wrapped == "teacher":
        # As DINO's authors save it.
        worse = {f"module.backbone.{name}": tensor + 1 for name, tensor in state.items()}
        state = {"student": worse, "teacher": {f"backbone.{name}": tensor for name, tensor in state.items()}}
    torch.save({"state_dict": state} if wrapped == "state_dict" else state, tmp_path / "w.pt")
    loaded = ClipEncoder.load("timm:test_vit", str(tmp_path / "w.pt"), "cpu", "fp32")
    assert loaded.weights_hash == load(checkpoints, "test_vit").weights_hash


def test_load__checkpoint_without_classifier(checkpoints, tmp_path):
    state = {k: v for k, v in checkpoints["test_vit"][0].state_dict().items() if not k.startswith("head.")}
    save_file(state, tmp_path / "w.safetensors")
    loaded = ClipEncoder.load("timm:test_vit", str(tmp_path / "w.safetensors"), "cpu", "fp32")
    assert loaded.weights_hash == load(checkpoints, "test_vit").weights_hash


def test_load__position_embedding_of_another_size_is_translated(checkpoints, tmp_path):
    """As timm does it: the checkpoint of a model for larger pictures."""
    large = timm.create_model("test_vit", img_size=224, num_classes=0)
    save_file(large.state_dict(), tmp_path / "large.safetensors")
    encoder = ClipEncoder.load("timm:test_vit", str(tmp_path / "large.safetensors"), "cpu", "fp32")
    assert encoder.encode_images(np.zeros((1, 160, 160, 3), np.uint8)).shape == (1, 64)


def test_load__files_that_do_not_fit(checkpoints, tmp_path):
    def error_of(content, name="w.pt", model="timm:test_vit"):
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(UlfineError) as caught:
            ClipEncoder.load(model, str(path), "cpu")
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
        return str(caught.value)

    state = checkpoints["test_vit"][0].state_dict()
    less = {name: tensor for name, tensor in state.items() if name != "norm.weight"}
    assert "does not fit the model timm:test_vit: it has no tensor norm.weight" in error_of(less)
    assert "norm.weight is (7,) instead of (64,)" in error_of(state | {"norm.weight": torch.ones(7)})
    assert "the model has no tensor blocks.99.x" in error_of(state | {"blocks.99.x": torch.ones(1)})
    assert "it holds none of its tensors, such as bn1" in error_of(state, model="timm:test_resnet")
    assert "empty.safetensors is empty" in error_of(b"", "empty.safetensors")
    # A pickled object could run code; it must not be unpickled.
    assert "plain checkpoint" in error_of({"state_dict": torch.nn.Linear(1, 1)}, "code.pt")


def test_load__unknown_names(tmp_path):
    with pytest.raises(
        UsageError, match=r"no model 'timm:vit_smal_patch14_dinov2': did you mean vit_small_patch14_dinov2"
    ):
        ClipEncoder.load("timm:vit_smal_patch14_dinov2", "")
    with pytest.raises(UsageError, match=r"timm:test_vit has no weights 'r160': did you mean r160_in1k"):
        ClipEncoder.load("timm:test_vit.r160", "")
    with pytest.raises(UsageError, match=r"no weights 'openai' and there is no such file: .*r160_in1k"):
        ClipEncoder.load("timm:test_vit", "openai")
    with pytest.raises(UsageError, match=r"timm:test_vit.r160_in1k already says which weights"):
        ClipEncoder.load("timm:test_vit.r160_in1k", "other")
    with pytest.raises(UsageError, match="give --model timm:resnet18"):
        ClipEncoder.load("resnet18", "openai")
    with pytest.raises(UlfineError, match=r"no checkpoint file .*gone.safetensors: give a file, or a tag"):
        ClipEncoder.load("timm:test_vit", str(tmp_path / "gone.safetensors"))


@pytest.mark.parametrize(
    ("model", "pretrained"), [("timm:test_vit.r160_in1k", "openai"), ("timm:test_vit", "r160_in1k")]
)
def test_load__weights_that_cannot_be_downloaded(monkeypatch, model, pretrained):
    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", unreachable)
    with pytest.raises(UlfineError) as caught:
        ClipEncoder.load(model, pretrained)
    assert str(caught.value) == (
        "the weights r160_in1k of timm:test_vit are not on this machine and cannot be downloaded: fetch "
        "model.safetensors from https://huggingface.co/timm/test_vit.r160_in1k elsewhere and give "
        "--model timm:test_vit.r160_in1k --pretrained FILE"
    )


def test_load__the_tag_in_the_name_says_how_pictures_are_made(tmp_path, recorder):
    name, file = "mobilenetv4_conv_small", str(tmp_path / "small.safetensors")
    save_file(timm.create_model(name, num_classes=0).state_dict(), file)
    small = ClipEncoder.load(f"timm:{name}.e1200_r224_in1k", file, "cpu", progress=recorder)
    large = ClipEncoder.load(f"timm:{name}.e3600_r256_in1k", file, "cpu", progress=recorder)
    assert (small.preprocess.size, small.preprocess.resize) == ((224, 224), (256, 256))
    assert (large.preprocess.size, large.preprocess.resize) == ((256, 256), (269, 269))
    assert small.weights_hash == large.weights_hash
    assert not any("preprocessed as" in note for note in recorder.notes)
    with pytest.raises(UsageError) as caught:
        ClipEncoder.load(f"timm:{name}", file, "cpu")
    imagenet = "mean 0.485 0.456 0.406, std 0.229 0.224 0.225"
    assert f"size 224, resize 256, {imagenet} for e1200_r224_in1k" in str(caught.value)
    assert f"give --model timm:{name}.TAG with the one that the file is of" in str(caught.value)
    # Hugging Face's folders say which it is.
    description = {"architecture": name, "pretrained_cfg": {"tag": "e3600_r256_in1k"}}
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(UsageError, match=rf"--model timm:{name}.e3600_r256_in1k \(config.json beside it says so\)$"):
        ClipEncoder.load(f"timm:{name}", file, "cpu")
    # A cache that was made without a tag says itself how its pictures were made.
    known = {"model": f"timm:{name}", "pretrained": file, "weights_hash": small.weights_hash, "precision": "fp32"}
    again = load_encoder(known | {"preprocess": small.preprocess.to_json()}, "cpu")
    assert again.preprocess == small.preprocess


def test_load__pictures_of_a_file_that_all_tags_share(checkpoints, recorder):
    encoder = load(checkpoints, "test_vit", progress=recorder)
    note = "pictures: size 160, resize 168, mean 0.5, std 0.5, bicubic, shortest side fits"
    assert f"{note} (all weights of test_vit share it)" in recorder.notes
    pictures = PictureOptions.parsed(None, "0.5", "0.25,0.5,1", "bilinear")
    other = load(checkpoints, "test_vit", pictures=pictures)
    assert (other.preprocess.mean, other.preprocess.std) == ((0.5, 0.5, 0.5), (0.25, 0.5, 1))
    assert (other.preprocess.interpolation, other.preprocess.resize) == ("bilinear", encoder.preprocess.resize)
    with pytest.raises(UsageError, match=r"--preprocess is for open_clip's models: --model timm:test_vit.TAG says"):
        load(checkpoints, "test_vit", pictures=PictureOptions(tag="r160_in1k"))


def test_load__image_tower_of_openai_in_timms_model(new_weights, register, tmp_path):
    """What is advised where a file holds no text encoder."""
    sizes = {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}
    name = register("ulfine-tower-test", embed_dim=512, vision_cfg=sizes | {"head_width": 64})
    state = {key: tensor.half() for key, tensor in new_weights(name).items() if key.startswith("visual.")}
    torch.save(state, tmp_path / "tower.pt")
    encoder = ClipEncoder.load("timm:vit_base_patch32_clip_224.openai", str(tmp_path / "tower.pt"), "cpu", "fp32")
    assert encoder.n_features == 768


def test_data_config__refusals():
    config = timm.data.resolve_model_data_config(timm.create_model("test_vit"))
    assert data_config_as_open_clip(config)["resize"] == (168, 168)
    with pytest.raises(UlfineError, match="crop mode 'border'"):
        data_config_as_open_clip(config | {"crop_mode": "border"})
    with pytest.raises(UlfineError, match="takes 1 channels"):
        data_config_as_open_clip(config | {"input_size": (1, 28, 28)})
    with pytest.raises(UlfineError, match="interpolation lanczos"):
        data_config_as_open_clip(config | {"interpolation": "lanczos"})


def test_cache_features__without_text(run, checkpoints, tmp_path, recorder):
    file = checkpoints["test_resnet"][1]
    figures = run(model="timm:test_resnet.r160_in1k", pretrained=str(file), views="five-crop", progress=recorder)
    assert figures["views"] == 5
    cache = FeatureCache.open(tmp_path / "cache")
    assert cache.text_features is None
    assert cache.prompts == []
    assert cache.class_names == ["cat", "red fox", "zebra"]
    assert any("has no text encoder" in note for note in recorder.notes)
    # The encoder is found again, and makes the first view of the same picture.
    encoder = load_encoder(cache.attributes, "cpu")
    picture = Image.open(tmp_path / "photos" / cache.paths[0]).convert("RGB")
    features = encoder.encode_images(encoder.preprocess.to_pixels(picture)[None])
    assert encoder.preprocess.resize == (177, 177)
    np.testing.assert_allclose(features[0], cache.features()[0], atol=2e-3)
    with pytest.raises(UlfineError, match="leave --pre-projection out"):
        run(model="timm:test_resnet.r160_in1k", pretrained=str(file), out=tmp_path / "other", pre_projection=True)
