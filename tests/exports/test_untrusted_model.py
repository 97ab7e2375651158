"""Files that reach beyond themselves are refused before onnxruntime sees them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ulfine_cache.errors import UlfineError
from ulfine_exports import untrusted_model
from ulfine_exports.untrusted_model import read_model


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
    with pytest.raises(UlfineError, match="cannot read"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(UlfineError, match="cannot read"):
        read_model(tmp_path)
    monkeypatch.setattr(untrusted_model, "_MAX_BYTES", 10)
    with pytest.raises(UlfineError, match="2 GB"):
        read_model(save(model_of(), tmp_path))
