"""ONNX files that are made to break what runs them."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def endless(metadata):
    """A file whose loop never ends."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Identity", ["x"], ["y"])],
        "body",
        [value("i", TensorProto.INT64, []), value("go", TensorProto.BOOL, []), value("x", TensorProto.FLOAT, None)],
        [value("go_on", TensorProto.BOOL, []), value("y", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("Loop", ["", "yes", "features"], ["looped"], body=body),
        helper.make_node("MatMul", ["looped", "w"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    tensors = [numpy_helper.from_array(np.array(True), "yes"), weights(metadata)]
    return written(nodes, tensors, metadata)


def weights(metadata):
    width, classes = int(metadata["n_features"]), len(json.loads(metadata["class_names"]))
    return numpy_helper.from_array(np.ones((width, classes), np.float32), "w")


def written(nodes, tensors, metadata):
    value, width = helper.make_tensor_value_info, int(metadata["n_features"])
    outputs = [value(name, TensorProto.FLOAT, None) for name in ("probabilities", "logits")]
    graph = helper.make_graph(nodes, "main", [value("features", TensorProto.FLOAT, ["batch", width])], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {key: text for key, text in metadata.items() if "sha256" not in key})
    return model


def huge(metadata, operator):
    """A file with a constant of four terabytes."""
    shape = numpy_helper.from_array(np.array([10**6, 10**6], np.int64), "shape")
    one = numpy_helper.from_array(np.ones((1, 1), np.float32), "one")
    inputs = {"ConstantOfShape": ["shape"], "Expand": ["one", "shape"], "Tile": ["one", "shape"]}[operator]
    nodes = [
        helper.make_node(operator, inputs, ["large"]),
        helper.make_node("ReduceMax", ["large"], ["most"], keepdims=0),
        helper.make_node("MatMul", ["features", "w"], ["product"]),
        helper.make_node("Add", ["product", "most"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    return written(nodes, [shape, one, weights(metadata)], metadata)


def metadata_of(path):
    return {item.key: item.value for item in onnx.load(path).metadata_props}
