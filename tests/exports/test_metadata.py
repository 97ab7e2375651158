"""What a file says about itself comes back as it went in, and damage is named."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulfine_cache.errors import UlfineError
from ulfine_exports.metadata import ExportMetadata

EXAMPLE = ExportMetadata(input="features", class_names=("a", "b"), n_features=8)


@given(
    names=st.lists(st.text(min_size=1), min_size=2, max_size=5, unique=True),
    temperature=st.floats(min_value=1e-3, max_value=1e3),
    model=st.text(),
)
def test_from_props__returns_what_to_props_wrote(names, temperature, model):
    metadata = ExportMetadata(
        input="pixels", class_names=tuple(names), n_features=512, temperature=temperature, model=model, opset=20
    )
    assert ExportMetadata.from_props(metadata.to_props(), "f") == metadata


def test_to_props__is_text_that_others_can_read():
    props = EXAMPLE.to_props()
    assert all(isinstance(value, str) for value in props.values())
    assert json.loads(props["class_names"]) == ["a", "b"]
    assert props["ulfine_format"] == "1"
    assert props["input"] == "features"


def test_from_props__ignores_keys_it_does_not_know():
    assert ExportMetadata.from_props({**EXAMPLE.to_props(), "from_the_future": "x"}, "f") == EXAMPLE


def test_from_props__key_of_older_files():
    props = ExportMetadata("features", ("a", "b"), 8, precision="int8", variant="dynamic").to_props()
    assert props["variant"] == "dynamic"
    assert "recipe" not in props
    props["recipe"] = props.pop("variant")
    assert ExportMetadata.from_props(props, "f").variant == "dynamic"


@pytest.mark.parametrize("key", ["ulfine_format", "input", "class_names", "n_features"])
def test_from_props__missing(key):
    props = EXAMPLE.to_props()
    del props[key]
    with pytest.raises(UlfineError, match=f"m.onnx carries no '{key}'"):
        ExportMetadata.from_props(props, "m.onnx")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ulfine_format", "99", "newer"),
        ("ulfine_format", "x", "damaged"),
        ("class_names", '{"a": 1}', "damaged"),
        ("class_names", "[1, 2]", "damaged"),
        ("class_names", "not json", "damaged"),
        ("class_names", '["a", "b", "a"]', "2 classes are called 'a'"),
        ("temperature", "warm", "damaged"),
        ("input", "sound", "cannot feed"),
    ],
)
def test_from_props__damaged(key, value, message):
    with pytest.raises(UlfineError, match=message) as caught:
        ExportMetadata.from_props({**EXAMPLE.to_props(), key: value}, "m.onnx")
    assert "\n" not in str(caught.value)
