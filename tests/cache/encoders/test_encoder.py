"""The encoder against plain open_clip, and its refusals."""

import numpy as np
import open_clip
import pytest
import torch

from ulfine_cache.encoders.device import choose_device, choose_precision
from ulfine_cache.encoders.encoder import ClipEncoder, hash_weights, load_encoder
from ulfine_cache.errors import UlfineError, UsageError


@pytest.fixture(scope="module")
def encoder(random_model):
    return ClipEncoder.load(random_model[0], random_model[1], "cpu", "fp32")


@pytest.fixture(scope="module")
def reference(random_model):
    return open_clip.create_model(random_model[0], pretrained=random_model[1]).eval()


def pixels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


def unit(tensor):
    return (tensor / tensor.norm(dim=-1, keepdim=True)).detach().numpy()


def test_encode_images__equals_open_clip(encoder, reference):
    batch = pixels(5)
    expected = unit(reference.encode_image(torch.from_numpy(encoder.preprocess.normalise(batch))))
    features = encoder.encode_images(batch)
    assert features.dtype == np.float32
    assert features.shape == (5, encoder.n_features) == (5, 16)
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_encode_text__equals_open_clip(encoder, reference, random_model):
    texts = [f"a photo of a thing number {number}." for number in range(300)]
    tokens = open_clip.get_tokenizer(random_model[0])(texts)
    np.testing.assert_allclose(encoder.encode_text(texts), unit(reference.encode_text(tokens)), atol=1e-6)


def test_image_tower__equals_the_encoder(encoder):
    batch = pixels(3)
    tower = encoder.image_tower
    features = tower(torch.from_numpy(encoder.preprocess.normalise(batch))).detach().numpy()
    np.testing.assert_allclose(features, encoder.encode_images(batch), atol=1e-6)
    assert not any(name.startswith("whole") for name, _ in tower.named_parameters())


def test_encoder__bf16_is_near_and_its_tower_is_fp32(random_model, encoder):
    low = ClipEncoder.load(random_model[0], random_model[1], "cpu", "bf16")
    batch = pixels(4)
    assert (low.encode_images(batch) * encoder.encode_images(batch)).sum(axis=1).min() > 0.99
    assert low.weights_hash == encoder.weights_hash
    assert {parameter.dtype for parameter in low.image_tower.parameters()} == {torch.float32}


def test_hash_weights__sees_one_changed_value(random_model):
    first, second = (open_clip.create_model(random_model[0], pretrained=random_model[1]) for _ in range(2))
    assert hash_weights(first) == hash_weights(second)
    with torch.no_grad():
        second.logit_scale += 1e-6
    assert hash_weights(first) != hash_weights(second)


def test_weights_hash__does_not_depend_on_the_file(random_model, reference, encoder, tmp_path):
    torch.save({"state_dict": reference.state_dict()}, tmp_path / "w.pt")
    assert ClipEncoder.load(random_model[0], str(tmp_path / "w.pt"), "cpu").weights_hash == encoder.weights_hash


def test_load_encoder__checks_the_weights(encoder):
    attributes = {
        "model": encoder.model_name,
        "pretrained": encoder.pretrained,
        "weights_hash": encoder.weights_hash,
        "precision": "fp32",
    }
    assert load_encoder(attributes, "cpu").weights_hash == encoder.weights_hash
    with pytest.raises(UlfineError, match="are not those that made the cache"):
        load_encoder(attributes | {"weights_hash": "0" * 64}, "cpu")
    with pytest.raises(UlfineError, match="were imported"):
        load_encoder({"model": "imported", "weights_hash": ""})


def test_load__unknown_names(random_model, tmp_path):
    with pytest.raises(UsageError, match=r"no model 'ViT-B-61': did you mean .*ViT-B-16"):
        ClipEncoder.load("ViT-B-61", "openai")
    with pytest.raises(UsageError, match=r"no weights 'opnai' .*did you mean openai"):
        ClipEncoder.load("ViT-B-32", "opnai")
    with pytest.raises(UlfineError, match="no checkpoint file"):
        ClipEncoder.load("ViT-B-32", str(tmp_path / "gone.safetensors"))
    with pytest.raises(UsageError, match="needs weights"):
        ClipEncoder.load("ViT-B-32", "")
    with pytest.raises(UlfineError, match="local-dir:"):
        ClipEncoder.load(f"local-dir:{tmp_path}", "")


def test_load__files_that_do_not_fit(random_model, tmp_path):
    def error_of(name, content):
        path = tmp_path / name
        torch.save(content, path) if not isinstance(content, bytes) else path.write_bytes(content)
        with pytest.raises(UlfineError) as caught:
            ClipEncoder.load(random_model[0], str(path), "cpu")
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)
        return str(caught.value)

    other = {"visual.proj": torch.zeros(2, 2), "ln_final.bias": torch.zeros(1)}
    assert "does not fit the model" in error_of("other.pt", other)
    assert "empty.safetensors is empty" in error_of("empty.safetensors", b"")
    # A pickled object could run code; it must not be unpickled.
    assert "plain checkpoint" in error_of("code.pt", {"state_dict": torch.nn.Linear(1, 1)})


def test_load__weights_that_cannot_be_downloaded(monkeypatch):
    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("open_clip.factory.download_pretrained", unreachable)
    with pytest.raises(UlfineError, match=r"fetch them from https://.*--model ViT-B-16-quickgelu --pretrained FILE"):
        ClipEncoder.load("ViT-B-16", "openai")


def test_load__quick_gelu_follows_the_tag(monkeypatch, recorder):
    asked = {}

    def create(name, **options):
        asked.update(options, name=name)
        raise OSError("stop here")

    monkeypatch.setattr("open_clip.create_model", create)
    for model, tag, expected in (
        ("ViT-B-16", "openai", True),
        ("ViT-B-16", "laion2b_s34b_b88k", False),
        ("ViT-B-16-quickgelu", "openai", False),  # its own configuration says it already
    ):
        with pytest.raises(UlfineError):
            ClipEncoder.load(model, tag, progress=recorder)
        assert asked["force_quick_gelu"] is expected
    assert len([note for note in recorder.notes if "QuickGELU" in note]) == 1


def test_choose_device__and_precision():
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(UsageError, match="no device 'gpu'"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(UlfineError, match="device cuda is not available"):
            choose_device("cuda")
    assert choose_precision("fp16", torch.device("cpu")) == "fp16"
    assert choose_precision("auto", torch.device("cpu")) in ("fp32", "bf16")
    assert choose_precision("auto", torch.device("mps")) == "fp32"
    with pytest.raises(UsageError, match="no precision 'int8'"):
        choose_precision("int8", torch.device("cpu"))


def test_choose_precision__bf16_where_the_cpu_multiplies_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    for supported, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda answer=supported: answer, raising=False)
        assert choose_precision("auto", torch.device("cpu")) == expected
