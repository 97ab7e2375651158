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

    That point is the first tensor (rows, width) of floats that everything after it is computed from, once no tensor
    with more axes goes into a layer any more. In between, encoders may write the tokens of all images one below the
    other and take them apart again; after it, views of an image may still be averaged. A graph that takes vectors
    (``features``) has no encoder.

    Args:
        model: A graph as `ulfine_exports.graphs.graph.build_graph` gives it: one input, nodes in topological order.

    Returns:
        The nodes, in order; empty where there is no encoder. Nodes that only handle shapes are among them.
    """
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    # Pixels for several encoders are rows, too.
    if _rank(inferred.input[0]) == 2 and inferred.input[0].name != "pixels":
        return []
    items = (*inferred.input, *inferred.value_info, *inferred.output)
    ranks = {item.name: _rank(item) for item in items if item.type.tensor_type.HasField("shape")}
    shapes = {item.name for item in items if item.type.tensor_type.elem_type == onnx.TensorProto.INT64}
    nodes, start = list(model.graph.node), model.graph.input[0].name
    depends = _dependent(nodes, start)
    weights = large_weights(model, 0)
    first = next((place for place, node in enumerate(nodes) if heavy_weight(node, weights)), len(nodes))
    values = depends - shapes
    last = _last_with_axes(nodes, values, ranks)
    readers = Counter(name for node in nodes for name in node.input)
    readers.update(item.name for item in model.graph.output)
    # What depends on the input and is still to be read; shapes travel beside the image and do not count.
    alive = {start}
    for place, node in enumerate(nodes):
        for name in node.input:
            readers[name] -= 1
            if not readers[name]:
                alive.discard(name)
        alive.update(name for name in node.output if name in values and readers[name])
        if place >= max(first, last) and len(alive) == 1 and ranks.get(next(iter(alive))) == 2:
            return [node for node in nodes[first : place + 1] if depends & set(node.output)]
    return [node for node in nodes[first:] if depends & set(node.output)]


def _dependent(nodes: "list[NodeProto]", start: str) -> set[str]:
    """The tensors that are computed from one."""
    found = {start}
    for node in nodes:
        if found & set(node.input):
            found.update(node.output)
    return found


def _last_with_axes(nodes: "list[NodeProto]", values: set[str], ranks: dict[str, int]) -> int:
    """Place of the last node whose result has more than two axes and goes into a layer; -1 where there is none."""
    wanted: set[str] = set()
    found = -1
    for place in range(len(nodes) - 1, -1, -1):
        node = nodes[place]
        results = wanted & set(node.output) & values
        if results and found < 0 and any(ranks.get(name) != 2 for name in results):
            found = place
        # A layer multiplies by something that does not come from the image.
        layer = node.op_type in HEAVY_OPERATORS and len(values & set(node.input)) == 1
        if layer or results:
            wanted.update(values & set(node.input))
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
