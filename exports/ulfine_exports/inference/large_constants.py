"""Refuses graphs that make something huge of a few constants, which onnxruntime would compute as it loads them."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

_MOST = 2**29
"""Elements of a tensor that is made of constants: 2 GB of floats, as much as a whole file may hold."""

_INT64, _INT32 = 7, 6
_MOST_SIZES = 64
"""Numbers of a shape; longer constants are weights."""


def refuse_large_constants(path: Path, graphs: "Iterable[GraphProto]") -> None:
    """Look at the nodes that take the shape of their result from a constant.

    What a graph computes in several steps is not followed: onnxruntime then fails or takes what memory there is.

    Args:
        path: The file, for the message.
        graphs: All graphs and functions in it.

    Raises:
        UlfineError: A result would have more than `_MOST` elements.
    """
    for graph in graphs:
        known = {tensor.name: _numbers(tensor) for tensor in getattr(graph, "initializer", ())}
        sizes = {tensor.name: math.prod(tensor.dims) for tensor in getattr(graph, "initializer", ())}
        for node in graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    numbers = _numbers(attribute.t) if attribute.name == "value" else list(attribute.ints)
                    known[node.output[0]] = numbers or ([attribute.i] if attribute.name == "value_int" else [])
                    sizes[node.output[0]] = math.prod(attribute.t.dims)
            elif _elements(node, known, sizes) > _MOST:
                raise UlfineError(
                    f"{path} makes a tensor of {_elements(node, known, sizes):.3g} elements of constants "
                    f"({node.op_type}): no file of `ulfine export` does, it is not run"
                )


def _elements(node: "NodeProto", known: Mapping[str, list[int]], sizes: Mapping[str, int]) -> float:
    """How many elements the result of a node has, 0 where constants do not tell."""
    inputs = [known.get(name) or [] for name in node.input]
    if node.op_type == "ConstantOfShape" and inputs:
        return _product(inputs[0])
    if node.op_type in ("Expand", "Reshape") and len(inputs) > 1:
        return _product(inputs[1]) if node.op_type == "Expand" else 0
    if node.op_type == "Tile" and len(inputs) > 1:
        return _product(inputs[1]) * max(1, sizes.get(node.input[0], 1))
    if node.op_type == "Resize" and len(inputs) > 3:
        return _product(inputs[3])
    if node.op_type == "Pad" and len(inputs) > 1:
        return float(sum(max(0, number) for number in inputs[1]))
    if node.op_type == "OneHot" and len(inputs) > 1:
        return _product(inputs[1])
    if node.op_type == "Range" and len(inputs) == 3 and all(len(numbers) == 1 for numbers in inputs):
        start, stop, step = (numbers[0] for numbers in inputs)
        return abs((stop - start) / step) if step else 0.0
    return 0.0


def _product(numbers: list[int]) -> float:
    return math.prod(float(max(0, number)) for number in numbers) if numbers else 0.0


def _numbers(tensor: "TensorProto") -> list[int]:
    """The whole numbers of a small tensor, [] for anything else."""
    if tensor.data_type not in (_INT64, _INT32) or math.prod(tensor.dims) > _MOST_SIZES:
        return []
    kind: Any = np.dtype("<i8" if tensor.data_type == _INT64 else "<i4")
    if tensor.raw_data:
        return np.frombuffer(tensor.raw_data[: _MOST_SIZES * kind.itemsize], kind).tolist()
    return [*tensor.int64_data, *tensor.int32_data]
