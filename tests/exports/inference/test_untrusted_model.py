"""Files that reach beyond themselves are refused before onnxruntime sees them."""

import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ulfine_cache.errors import UlfineError
from ulfine_cache.preprocess import Preprocess
from ulfine_exports.graphs.affine_graph import affine_graph
from ulfine_exports.graphs.graph import PixelGraph, build_graph
from ulfine_exports.graphs.image_graph import prepend, preprocess_graph
from ulfine_exports.inference import untrusted_model
from ulfine_exports.inference.untrusted_model import read_model
from ulfine_exports.metadata import ExportMetadata
from ulfine_exports.onnx_classifier import OnnxClassifier

PREPROCESS = Preprocess((8, 8), (0.5,) * 3, (0.5,) * 3)


def model_of(*nodes, initializers=(), imports=(("", 20),)):
    graph = helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["x"], ["y"])],
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        list(initializers),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(*item) for item in imports])


def outside(name="w", location="../../etc/passwd"):
    """A tensor whose bytes are to come from another file."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def branch(node, tensor=None):
    """A graph that hides a node or tensor inside an `If`."""
    inner = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])])
    if tensor is not None:
        inner.initializer.append(tensor)
    return helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)


IDENTITY = helper.make_node("Identity", ["x"], ["y"])
FOREIGN = helper.make_node("Run", ["x"], ["y"], domain="com.evil")


def save(model, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_read_model__plain(tmp_path):
    assert read_model(save(model_of(), tmp_path)).graph.node[0].op_type == "Identity"


@pytest.mark.parametrize(
    "model",
    [
        model_of(initializers=[outside()]),
        model_of(helper.make_node("Constant", [], ["y"], value=outside())),
        model_of(branch(IDENTITY, outside())),
        model_of(branch(helper.make_node("Constant", [], ["y"], value=outside()))),
    ],
    ids=["initializer", "constant", "initializer in a branch", "constant in a branch"],
)
def test_read_model__external_data(model, tmp_path):
    with pytest.raises(UlfineError, match="weights in other files"):
        read_model(save(model, tmp_path))


def test_read_model__external_data_without_the_flag(tmp_path):
    tensor = outside()
    tensor.ClearField("data_location")
    with pytest.raises(UlfineError, match="weights in other files"):
        read_model(save(model_of(initializers=[tensor]), tmp_path))


def in_a_function():
    model = model_of(imports=[("", 20), ("ai.onnx", 1)])
    function = helper.make_function("ai.onnx", "F", ["x"], ["y"], [FOREIGN], [helper.make_opsetid("", 20)])
    model.functions.append(function)
    return model


@pytest.mark.parametrize(
    "model",
    [model_of(FOREIGN), model_of(branch(FOREIGN)), model_of(imports=[("", 20), ("com.evil", 1)]), in_a_function()],
    ids=["node", "branch", "import", "function"],
)
def test_read_model__foreign_operators(model, tmp_path):
    with pytest.raises(UlfineError, match=r"domain 'com\.evil'"):
        read_model(save(model, tmp_path))


@pytest.mark.parametrize("content", [b"", b"not a model at all", onnx.TensorProto(name="x").SerializeToString()])
def test_read_model__something_else(content, tmp_path):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(UlfineError, match="no ONNX model") as caught:
        read_model(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)


def test_read_model__missing_directory_and_too_large(tmp_path, monkeypatch):
    with pytest.raises(UlfineError, match="does not exist"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(UlfineError, match="is a directory"):
        read_model(tmp_path)
    monkeypatch.setattr(untrusted_model, "_MAX_BYTES", 10)
    with pytest.raises(UlfineError, match="2 GB"):
        read_model(save(model_of(), tmp_path))


def classifier_file(input, tmp_path, change):
    """A file for `OnnxClassifier` that takes features, pixels or images, after a change to its graph."""
    if input == "features":
        weight = np.ones((6, 4), np.float32)
        model = affine_graph(weight, np.zeros(4, np.float32), 20)
    else:
        module = PixelGraph(nn.Sequential(nn.AvgPool2d(4), nn.Flatten()), nn.Linear(12, 4))
        name = "pixels" if input == "pixels" else "prepared"
        model, _ = build_graph(module, name, (3, 8, 8), 20)
        if input == "image":
            model = prepend(preprocess_graph(PREPROCESS, 20), model)
    said = ExportMetadata(input, ("ash", "birch", "cedar", "elm"), 6, preprocess=PREPROCESS.to_json())
    helper.set_model_props(model, said.to_props())
    change(model)
    return save(model, tmp_path)


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def foreign(model):
    model.graph.node[0].domain = "com.evil"
    model.opset_import.add(domain="com.evil", version=1)


def huge(model):
    model.graph.initializer[0].dims[:] = [2**30, 2**30]


def not_said(model):
    model.graph.input[0].name = "other"
    for node in model.graph.node:
        node.input[:] = ["other" if name in ("features", "pixels", "image") else name for name in node.input]


@pytest.mark.parametrize("input", ["features", "pixels", "image"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external, "weights in other files"),
        (foreign, r"domain 'com\.evil'"),
        (huge, "onnxruntime cannot load the model"),
        (not_said, "takes 'other', its metadata say"),
    ],
)
def test_onnx_classifier__every_input_kind_refuses(input, change, message, tmp_path):
    with pytest.raises(UlfineError, match=message) as caught:
        OnnxClassifier(classifier_file(input, tmp_path, change), device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("input", ["features", "pixels", "image"])
def test_onnx_classifier__the_same_files_unchanged_are_run(input, tmp_path):
    rows = {
        "features": np.ones((2, 6), np.float32),
        "pixels": np.ones((2, 3, 8, 8), np.float32),
        "image": np.ones((2, 30, 20, 3), np.uint8),
    }
    classifier = OnnxClassifier(classifier_file(input, tmp_path, lambda model: None), device="cpu")
    assert np.allclose(classifier.predict_proba(rows[input]).sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("first", ["", "import onnx; "])
def test_read_model__is_onnxs_own_and_leaves_the_package_alone(feature_onnx, first):
    code = (
        f"{first}import sys; from pathlib import Path; "
        "from ulfine_exports.inference.untrusted_model import read_model; "
        f"path = {str(feature_onnx)!r}; model = read_model(Path(path)); "
        f"assert ('onnx' in sys.modules) == {bool(first)}; "
        "import onnx; same = onnx.load(path); assert isinstance(model, onnx.ModelProto); assert model == same; "
        "onnx.checker.check_model(model, full_check=True)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
