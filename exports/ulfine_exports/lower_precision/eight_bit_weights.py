"""Weights of 8 bits that are multiplied as floats: a file a quarter as large that answers alike on every machine.

Integer kernels round where the processor likes to: the same int8 file gives other probabilities in a browser than in
Python (`docs/decide.md`). What is only stored in 8 bits does not, and browsers multiply floats as fast as integers.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

VARIANT = "weights"
"""What this is called among the variants of int8."""


def with_eight_bit_weights(model: "ModelProto") -> "ModelProto":
    """Store the weights of the encoder's large layers but the first as integers, with one scale for each output.

    Depthwise filters stay as they are: a hundredth of the weights, and a quarter of the error.

    Args:
        model: An fp32 graph as `ulfine_exports.graphs.graph.build_graph` gives it; not changed.

    Returns:
        A new model, about a quarter as large.
    """
    import numpy as np
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    from ulfine_exports.lower_precision.quantise import quantised_nodes

    copy = ModelProto()
    copy.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in copy.graph.initializer}
    nodes: list[NodeProto] = []
    stored: set[str] = set()
    layers = [node for node in quantised_nodes(copy) if node.op_type != "Conv" or weights[node.input[1]].dims[1] > 1]
    for node in layers:
        name, axis = node.input[1], _outputs_axis(node)
        # Once, where several layers read it.
        if name not in stored:
            values = numpy_helper.to_array(weights[name])
            others = tuple(place for place in range(values.ndim) if place != axis)
            scale = np.maximum(np.abs(values).max(others), 1e-12) / 127
            whole = np.rint(values / np.expand_dims(scale, others)).astype(np.int8)
            weights[name].CopyFrom(numpy_helper.from_array(whole, name))
            scale = np.expand_dims(scale, others).astype(np.float32)
            copy.graph.initializer.append(numpy_helper.from_array(scale, f"{name}/scale"))
            # Not DequantizeLinear: onnxruntime takes that and a product for a product of integers. This it computes
            # once, when it loads the file.
            nodes += [
                helper.make_node("Cast", [name], [f"{name}/whole"], to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{name}/whole", f"{name}/scale"], [f"{name}/float"]),
            ]
            stored.add(name)
    for node in copy.graph.node:
        for place, name in enumerate(node.input):
            if name in stored:
                node.input[place] = f"{name}/float"
    nodes += copy.graph.node
    del copy.graph.node[:]
    del copy.graph.value_info[:]
    copy.graph.node.extend(nodes)
    return copy


def _outputs_axis(node: "NodeProto") -> int:
    """The axis of a layer's weight along which its outputs lie."""
    turned = any(item.name == "transB" and item.i for item in node.attribute)
    return 0 if node.op_type == "Conv" or turned else 1
