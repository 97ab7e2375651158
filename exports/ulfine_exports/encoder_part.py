"""Which nodes of an exported graph are the image encoder: the part that pays for fewer bits, and that bears them.

What comes before it (resizing and normalising pixels) and after it (what is computed once per image: the projection,
the classifier, the probabilities) costs next to nothing and decides the answer, so it stays in fp32.
"""

import math
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

HEAVY_OPERATORS = ("Conv", "Gemm", "MatMul")

LARGE = 1024
"""Weights below this many elements are not worth converting."""


def encoder_nodes(model: "ModelProto") -> list["NodeProto"]:
    """Find the nodes from the first layer with weights to the point where an image has become a single vector.

    That point is the first tensor (batch, width) of floats that everything after it is computed from, such as the class
    token of a vision transformer. A graph that takes vectors (``features``) has no encoder.

    Args:
        model: A graph as `ulfine_exports.graph.build_graph` gives it: one input, nodes in topological order.

    Returns:
        The nodes, in order; empty where there is no encoder. Nodes that only handle shapes are among them.
    """
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    if _rank(inferred.input[0]) == 2:
        return []
    floats = {item.name: _rank(item) for item in (*inferred.value_info, *inferred.output) if _is_float(item)}
    readers = Counter(name for node in model.graph.node for name in node.input)
    readers.update(item.name for item in model.graph.output)
    # What depends on the input and is still to be read; shapes travel beside the image and do not count.
    alive = {model.graph.input[0].name}
    weights, depends = large_weights(model, 0), set(alive)
    found: list[NodeProto] = []
    for node in model.graph.node:
        dependent = any(name in depends for name in node.input)
        if dependent and (found or heavy_weight(node, weights)):
            found.append(node)
        for name in node.input:
            readers[name] -= 1
            if not readers[name]:
                alive.discard(name)
        if dependent:
            depends.update(node.output)
            alive.update(name for name in node.output if name in floats and readers[name])
        if found and len(alive) == 1 and floats.get(next(iter(alive))) == 2:
            return found
    return found


def heavy_weight(node: "NodeProto", weights: set[str]) -> str | None:
    """The name of the weight that a layer multiplies by, None for other nodes."""
    if node.op_type in HEAVY_OPERATORS and len(node.input) > 1 and node.input[1] in weights:
        return node.input[1]
    return None


def large_weights(model: "ModelProto", size: int = LARGE) -> set[str]:
    """Names of the float weights with at least two axes and `size` elements: those that make up a file's size."""
    import onnx

    return {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) >= 2 and math.prod(tensor.dims) >= size
    }


def _rank(item: "ValueInfoProto") -> int:
    return len(item.type.tensor_type.shape.dim)


def _is_float(item: "ValueInfoProto") -> bool:
    tensor = item.type.tensor_type
    return tensor.elem_type == 1 and tensor.HasField("shape")
