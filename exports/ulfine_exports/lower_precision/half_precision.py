"""Half-precision graphs: the encoder's products in fp16, whatever decides the answer in fp32.

As in torch's autocast, matrix products are fp16 and what lies between them is fp32: sums over many terms, whose
rounding errors add up, and powers, which leave fp16's range. Moving more nodes to fp16 was tried and saves nothing on
CPUs, which have no fp16 kernels; onnxruntime 1.31 even crashes when it loads such a graph if Gelu, Mul and Transpose
are all among them. Convolutions store fp16 and compute fp32: what onnxruntime's `quantize_dynamic` makes of one that
reads fp16 cannot be loaded.

`onnxruntime.transformers.float16` does nearly this, but sends inputs and outputs through fp16 even where the nodes next
to them are to stay in fp32, which costs the logits the digits that were kept for them.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ulfine_exports.lower_precision.encoder_part import encoder_nodes, large_weights
from ulfine_exports.lower_precision.product_layers import drop_unread

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

_PRODUCTS = ("Gemm", "MatMul")

_ROOM = 65504.0
"""The largest number that fp16 holds."""


def to_half(model: "ModelProto") -> "ModelProto":
    """Convert the encoder's products to fp16 and store the other large weights as fp16.

    Weights of convolutions and outside the encoder are cast back as they are read, which onnxruntime does once, when
    it loads the file: all arithmetic there stays fp32. Input and outputs stay what they are.

    Args:
        model: An fp32 graph as `ulfine_exports.graphs.graph.build_graph` gives it; not changed.

    Returns:
        A new model, about half as large.
    """
    import onnx

    encoder = [node for node in encoder_nodes(model) if node.op_type in _PRODUCTS]
    outputs = {item.name for item in model.graph.output}
    half = _HalfGraph(model, {node.name for node in encoder if not outputs & set(node.output)})
    converted = onnx.ModelProto()
    converted.CopyFrom(model)
    del converted.graph.node[:], converted.graph.value_info[:]
    converted.graph.node.extend(half.nodes())
    _store_half(converted, half.halved)
    return converted


class _HalfGraph:
    """Rewrites nodes one after the other, with a Cast wherever a float crosses between fp16 and fp32."""

    def __init__(self, model: "ModelProto", names: set[str]) -> None:
        import onnx

        inferred = onnx.shape_inference.infer_shapes(model).graph
        items = (*inferred.input, *inferred.value_info, *inferred.output)
        self._floats = {item.name for item in items if item.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        weights = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
        self._floats |= weights
        self._model, self._names = model, names
        self._half: set[str] = set()
        self._cast: dict[str, str] = {}
        self._nodes: list[NodeProto] = []
        self.halved: set[str] = set()
        """Weights that fp16 nodes read; complete after `nodes`."""
        self._weights = weights

    def nodes(self) -> "list[NodeProto]":
        """All nodes in order, the Casts between them."""
        import onnx

        for node in self._model.graph.node:
            copy = onnx.NodeProto()
            copy.CopyFrom(node)
            want = node.name in self._names
            for place, name in enumerate(node.input):
                if name in self._floats and (name in self._half) != want:
                    copy.input[place] = self._crossed(name, want)
            self._nodes.append(copy)
            if want:
                self._half.update(name for name in node.output if name in self._floats)
        return self._nodes

    def _crossed(self, name: str, half: bool) -> str:
        """The other version of a tensor, cast where it is first needed."""
        import onnx

        crossed = f"{name}_fp16" if half else f"{name}_fp32"
        if half and name in self._weights:
            self.halved.add(name)
        elif name not in self._cast:
            to = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
            self._nodes.append(onnx.helper.make_node("Cast", [name], [crossed], name=f"{crossed}_cast", to=to))
            self._cast[name] = crossed
        return crossed


def _store_half(model: "ModelProto", halved: set[str]) -> None:
    """Store the weights of fp16 nodes, and all large ones, as fp16; what fp32 nodes read of them is cast back."""
    from onnx import TensorProto, helper, numpy_helper

    large, casts = large_weights(model), []
    read = {name for node in model.graph.node for name in node.input}
    kept = []
    for tensor in model.graph.initializer:
        if tensor.name not in halved | large:
            kept.append(tensor)
            continue
        stored = f"{tensor.name}_fp16"
        # A weight beyond fp16's range would become infinite.
        values = np.clip(numpy_helper.to_array(tensor), -_ROOM, _ROOM).astype(np.float16)
        kept.append(numpy_helper.from_array(values, stored))
        if tensor.name in read:
            casts.append(
                helper.make_node("Cast", [stored], [tensor.name], name=f"{tensor.name}_to_fp32", to=TensorProto.FLOAT)
            )
    cast = {node.output[0] for node in casts}
    nodes = [part for node in model.graph.node for part in _without_bias(node, cast, kept)]
    nodes = [*_as_constants(model, kept), *casts, *nodes]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)
    drop_unread(model)


def _without_bias(node: "NodeProto", cast: set[str], weights: "list[TensorProto]") -> "Iterator[NodeProto]":
    """A convolution whose weight is cast, and the Add of its bias; any other node as it is.

    onnxruntime joins the two again as it loads the file. Its `quantize_dynamic` ends with a ValueError at a convolution
    with a bias whose weight comes from another node.
    """
    from onnx import NodeProto, helper, numpy_helper

    named = {tensor.name: tensor for tensor in weights}
    if node.op_type != "Conv" or node.input[1] not in cast or len(node.input) < 3 or node.input[2] not in named:
        yield node
        return
    out, shaped = node.output[0], f"{node.output[0]}_bias"
    sides = len(named[f"{node.input[1]}_fp16"].dims) - 2
    values = numpy_helper.to_array(named[node.input[2]])
    weights.append(numpy_helper.from_array(values.reshape(-1, *[1] * sides), shaped))
    product = NodeProto()
    product.CopyFrom(node)
    del product.input[2:]
    product.output[0] = f"{out}_product"
    yield product
    yield helper.make_node("Add", [product.output[0], shaped], [out], name=f"{node.name}_bias")


def _as_constants(model: "ModelProto", weights: "list[TensorProto]") -> "list[NodeProto]":
    """Take the fp16 matrices that products read out of the weights, and give them as nodes.

    Runtimes treat both alike. onnxruntime's `quantize_dynamic` converts products by weights and would feed fp16 to its
    DynamicQuantizeLinear, which takes fp32 alone: the file it writes could not be loaded. Products by the result of
    another node it leaves as they are.
    """
    from onnx import TensorProto, helper

    products = {name for node in model.graph.node if node.op_type in _PRODUCTS for name in node.input[:2]}
    moved = [item for item in weights if item.data_type == TensorProto.FLOAT16 and item.name in products]
    for tensor in moved:
        weights.remove(tensor)
    return [
        helper.make_node("Constant", [], [tensor.name], name=f"{tensor.name}_constant", value=tensor)
        for tensor in moved
    ]
