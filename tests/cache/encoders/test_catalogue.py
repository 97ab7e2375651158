"""The list of encoders: names that can be made, and what making them shows."""

import pytest

from ulfine_cache.encoders import catalogue
from ulfine_cache.encoders.catalogue import list_encoders


def by_name(word):
    return {found["name"]: found for found in list_encoders(word)}


def test_open_clip__width_and_input_are_those_of_the_model():
    import open_clip

    found = by_name("vit-b-32")["ViT-B-32"]
    assert {"openai", "laion2b_s34b_b79k"} <= set(found["weights"])
    assert (found["features"], found["input"], found["text"]) == (512, (224, 224), True)
    assert open_clip.get_model_config("ViT-B-32")["embed_dim"] == found["features"]
    assert found["licence"] == "unknown"


def test_timm__width_is_that_of_its_features():
    import timm
    import torch

    found = by_name("timm:mobilenetv3_small_050")["timm:mobilenetv3_small_050.lamb_in1k"]
    model = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=0).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 3, *found["input"])).shape[1] == found["features"]
    assert found["licence"] == "apache-2.0"
    assert found["text"] is False


def test_builtin__and_words():
    tiny = by_name("TINY builtin")
    assert list(tiny) == ["builtin:tiny"]
    assert tiny["builtin:tiny"]["features"] == 128
    assert all("dinov2" in name and "small" in name for name in by_name("small dinov2"))
    assert list_encoders("no such model") == []


def test_long_list__measures_no_width(monkeypatch):
    monkeypatch.setattr(catalogue, "_width", lambda name: pytest.fail(f"{name} was made"))
    assert len(list_encoders("timm:vit_")) > catalogue._MOST_MEASURED
