"""Spells the lengths of vectors in operators whose shapes every tool can infer."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto


def plain_norms(model: "ModelProto") -> None:
    """Write every ReduceL2 of the main graph as the root of a sum of squares, in place.

    onnxruntime's symbolic shape inference, which its quantiser's `quant_pre_process` starts with, does not know
    ReduceL2 with its axes as an input, and ends with a TypeError at what comes after it. Both forms give the same
    numbers: onnxruntime computes ReduceL2 this way.
    """
    nodes = [part for node in model.graph.node for part in _spelled(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _spelled(node: "NodeProto") -> "Iterator[NodeProto]":
    from onnx import NodeProto, helper

    if node.op_type != "ReduceL2":
        yield node
        return
    out = node.output[0]
    squares, total = f"{out}_squares", f"{out}_sum"
    yield helper.make_node("Mul", [node.input[0], node.input[0]], [squares], name=f"{node.name}_squares")
    # Axes and attributes are the same.
    summed = NodeProto()
    summed.CopyFrom(node)
    summed.op_type, summed.input[0], summed.output[0], summed.name = "ReduceSum", squares, total, f"{node.name}_sum"
    yield summed
    yield helper.make_node("Sqrt", [total], [out], name=node.name)
