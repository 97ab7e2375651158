"""Weights in the hub's cache and in folders that were cut short."""

import json

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from tests.cache.encoders.conftest import SMALL_CONFIG
from ulfine_cache.encoders.checkpoints.downloaded import damaged_download
from ulfine_cache.encoders.encoder import ClipEncoder
from ulfine_cache.errors import UlfineError
from ulfine_cache.preprocess import Preprocess


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub, without a network; returns a function that puts a file of weights into it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(repository, name, content):
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        for part in ("blobs", "snapshots/abc", "refs"):
            (folder / part).mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        (folder / "blobs" / "b1").write_bytes(content)
        (folder / "snapshots" / "abc" / name).symlink_to("../../blobs/b1")
        return folder / "blobs" / "b1"

    return put


@pytest.fixture
def weights(tmp_path):
    save_file({"a": torch.zeros(1000)}, tmp_path / "whole.safetensors")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pt")
    return {ending: (tmp_path / f"whole.{ending}").read_bytes() for ending in ("safetensors", "pt")}


@pytest.mark.parametrize(
    ("model", "tag", "repository"),
    [
        ("ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("timm:test_vit", "r160_in1k", "timm/test_vit.r160_in1k"),
        ("hf-hub:somebody/model", "", "somebody/model"),
    ],
)
def test_load__a_damaged_download_is_named(hub, weights, model, tag, repository, monkeypatch):
    def damaged(*args, **kwargs):
        raise OSError("cannot be read")

    # Where these libraries look for downloads is fixed when they are imported.
    monkeypatch.setattr("open_clip.create_model", damaged)
    monkeypatch.setattr("timm.create_model", damaged)
    file = hub(repository, "open_clip_model.safetensors", weights["safetensors"][:900])
    with pytest.raises(UlfineError, match="were downloaded before, and") as caught:
        ClipEncoder.load(model, tag, "cpu")
    assert str(caught.value).endswith(
        f"{file} is cut short or damaged: delete it, and the same command downloads it again"
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.safetensors", lambda weights: weights["safetensors"], ""),
        ("pytorch_model.bin", lambda weights: weights["pt"], ""),
        ("pytorch_model.bin", lambda weights: weights["pt"][:-300], "is cut short: delete it"),
        ("model.safetensors", lambda weights: weights["safetensors"][:-1], "is cut short or damaged: delete it"),
        ("model.safetensors", lambda _: b"", "is empty: delete it"),
        ("model.safetensors", lambda _: b"<!DOCTYPE html>", "is a page for a browser (HTML), not the file itself: del"),
        ("config.json", lambda _: b"", ""),
    ],
)
def test_damaged_download__looks_at_weights_alone(hub, weights, name, content, said):
    hub("a/b", name, content(weights))
    found = damaged_download("a/b/")
    assert said in found if said else found == ""
    assert damaged_download("a/other") == damaged_download("") == ""


def test_local_dir(small, state, tmp_path, recorder):
    """open_clip's own folder: its description says architecture and pictures."""
    folder = tmp_path / "model"
    with pytest.raises(UlfineError, match=r"no folder .*/model: local-dir: takes one with open_clip_config.json and"):
        ClipEncoder.load(f"local-dir:{folder}", "openai", "cpu")
    folder.mkdir()
    pictures = {"mean": [0.5] * 3, "std": [0.25] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    description = {"model_cfg": SMALL_CONFIG, "preprocess_cfg": pictures}
    (folder / "open_clip_config.json").write_text(json.dumps(description))
    with pytest.raises(UlfineError, match=r"has no file of weights beside open_clip_config.json, such as open_clip_mo"):
        ClipEncoder.load(f"local-dir:{folder}", "openai", "cpu")
    weights = folder / "open_clip_model.safetensors"
    save_file(state, weights)
    encoder = ClipEncoder.load(f"local-dir:{folder}", "openai", "cpu", "fp32", progress=recorder)
    assert encoder.preprocess == Preprocess((32, 32), (0.5,) * 3, (0.25,) * 3, "bilinear", "squash")
    save_file(state, tmp_path / "w.safetensors")
    expected = ClipEncoder.load(small, str(tmp_path / "w.safetensors"), "cpu", "fp32", progress=recorder)
    assert encoder.weights_hash == expected.weights_hash
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(UlfineError, match=r"open_clip_model.safetensors is cut short or damaged: fetch or copy it aga"):
        ClipEncoder.load(f"local-dir:{folder}", "openai", "cpu")
