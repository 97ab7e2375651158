"""Brings the matrix products of a graph to the forms that onnxruntime quantises and fuses."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ulfine_exports.lower_precision.encoder_part import heavy_weight, large_weights

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto


def plain_products(model: "ModelProto") -> "ModelProto":
    """A copy in which layers multiply by constants (K, M), marked as prepared for onnxruntime's quantiser.

    The quantiser does not look through a Transpose. Products of matrices with a bias become one Gemm: onnxruntime joins
    them when it loads a file, and a product that was quantised without its bias would be computed in fp32 then.
    """
    import onnx
    from onnx import helper

    prepared = onnx.ModelProto()
    prepared.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in prepared.graph.initializer}
    nodes: list[NodeProto] = []
    for node in prepared.graph.node:
        options = {item.name: helper.get_attribute_value(item) for item in node.attribute}
        matrix = len(node.input) == 1 and node.input[0] in weights and len(weights[node.input[0]].dims) == 2
        if node.op_type == "Transpose" and matrix and options.get("perm", [1, 0]) == [1, 0]:
            weights[node.output[0]] = _turned(weights[node.input[0]], node.output[0])
        else:
            nodes.append(node)
            if node.op_type == "Gemm" and options.get("transB") and node.input[1] in weights:
                turned = f"{node.input[1]}_transposed"
                weights[turned] = _turned(weights[node.input[1]], turned)
                node.input[1] = turned
                kept = [item for item in node.attribute if item.name != "transB"]
                del node.attribute[:]
                node.attribute.extend(kept)
    del prepared.graph.node[:], prepared.graph.initializer[:]
    prepared.graph.node.extend(nodes)
    prepared.graph.initializer.extend(weights.values())
    _join_biases(prepared)
    helper.set_model_props(prepared, {"onnx.quant.pre_process": "onnxruntime.quant"})
    return prepared


def _turned(tensor: "TensorProto", name: str) -> "TensorProto":
    from onnx import numpy_helper

    return numpy_helper.from_array(numpy_helper.to_array(tensor).T.copy(), name)


def _join_biases(model: "ModelProto") -> None:
    """Make one Gemm, in place, of every product of a matrix by a constant and the bias that is added to it."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    items = (*inferred.input, *inferred.value_info)
    matrices = {item.name for item in items if len(item.type.tensor_type.shape.dim) == 2}
    vectors = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 1}
    weights = large_weights(model, 0)
    readers = Counter(name for node in model.graph.node for name in node.input)
    readers.update(item.name for item in model.graph.output)
    products: dict[str, NodeProto] = {}
    for node in list(model.graph.node):
        if node.op_type == "MatMul" and node.input[0] in matrices and heavy_weight(node, weights):
            products[node.output[0]] = node
        if node.op_type != "Add":
            continue
        product, bias = node.input if node.input[1] in vectors else reversed(node.input)
        if product in products and bias in vectors and readers[product] == 1:
            products[product].op_type = "Gemm"
            products[product].input.append(bias)
            products[product].output[0] = node.output[0]
            model.graph.node.remove(node)


def separate_biases(model: "ModelProto", layers: list[str]) -> "ModelProto":
    """A copy with MatMul and Add in place of some Gemm layers, which have no dynamic form."""
    import onnx

    copy, chosen = onnx.ModelProto(), set(layers)
    copy.CopyFrom(model)
    nodes: list[NodeProto] = []
    for node in copy.graph.node:
        nodes.extend(_product_and_bias(node) if node.op_type == "Gemm" and node.name in chosen else [node])
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


def _product_and_bias(node: "NodeProto") -> "Iterator[NodeProto]":
    from onnx import helper

    biased = len(node.input) > 2 and bool(node.input[2])
    product = f"{node.output[0]}_product" if biased else node.output[0]
    yield helper.make_node("MatMul", node.input[:2], [product], name=node.name)
    if biased:
        yield helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}_bias")


def drop_unread(model: "ModelProto") -> None:
    """Remove the weights that other ones have taken the place of."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
