"""Evens out activations before they are quantised: a channel of outliers takes the 8 bits of all others.

Trained vision transformers have a few channels that are tens of times larger than the rest. Dividing channel j of a
layer's input by s_j and multiplying row j of its weights by s_j changes nothing in exact arithmetic and moves half of
the differences, on a log scale, into the weights, which have a scale for every output:

    s_j = sqrt(max |x_j| / max |w_j|)        (Xiao et al., SmoothQuant, 2023, equation 4 with alpha = 1/2)

Where the input comes from a LayerNormalization, its scale and bias take the division; elsewhere a multiplication is put
in. Layers whose input is even already are left as they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_exports.inference.providers import open_session

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

ENOUGH = 25.0
"""Decibels from the rounding noise up to the median channel, above which an input is left alone. Normally distributed
values have near 38; every bit that outliers take costs 6."""


@dataclass(frozen=True)
class Activations:
    """The activations before one layer, or before several that read the same.

    Attributes:
        largest: float64 (K,): the largest magnitude of each channel.
        power: float64 (K,): the mean square of each channel.
    """

    largest: NDArray[np.float64]
    power: NDArray[np.float64]

    @property
    def decibels(self) -> float:
        """Power of the median channel over that of the noise of rounding to 255 steps; infinite where all is zero."""
        step = 2 * self.largest.max() / 255
        noise = step**2 / 12
        return float("inf") if noise == 0 else float(10 * np.log10(max(np.median(self.power), 1e-30) / noise))


def smooth(model: "ModelProto", layers: list[str], calibration: Iterable[NDArray[Any]]) -> int:
    """Even out the inputs of some layers, in place.

    Args:
        model: A graph whose `layers` are MatMul, or Gemm without a transposed matrix, by a constant (K, M).
        layers: Names of the nodes that will be quantised.
        calibration: Batches for the graph's input.

    Returns:
        How many inputs were uneven.
    """
    chosen = set(layers)
    inputs: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        if node.name in chosen and node.op_type in ("MatMul", "Gemm"):
            inputs.setdefault(node.input[0], []).append(node)
    measured = measure(model, inputs, calibration)
    uneven = {name: activations for name, activations in measured.items() if activations.decibels < ENOUGH}
    for name, activations in uneven.items():
        _even_out(model, name, inputs[name], activations)
    return len(uneven)


def measure(
    model: "ModelProto", inputs: "dict[str, list[NodeProto]]", calibration: Iterable[NDArray[Any]]
) -> dict[str, Activations]:
    """Measure tensors whose last axis holds the channels.

    Args:
        model: The graph; not changed.
        inputs: Names of tensors, with the layers that read each.
        calibration: Batches for the graph's input; at least one.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    if not inputs:
        return {}
    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    measured.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "smoothing_axis"))
    for name, nodes in inputs.items():
        channels = weights[nodes[0].input[1]].dims[0]
        shape = numpy_helper.from_array(np.array([-1, channels], np.int64), f"{name}_flat_shape")
        measured.graph.initializer.append(shape)
        flat, size, square = f"{name}_flat", f"{name}_size", f"{name}_square"
        largest, power = f"{name}_largest", f"{name}_power"
        measured.graph.node.extend(
            [
                helper.make_node("Reshape", [name, shape.name], [flat]),
                helper.make_node("Abs", [flat], [size]),
                helper.make_node("Mul", [flat, flat], [square]),
                helper.make_node("ReduceMax", [size, "smoothing_axis"], [largest], keepdims=0),
                helper.make_node("ReduceMean", [square, "smoothing_axis"], [power], keepdims=0),
            ]
        )
        for output in (largest, power):
            measured.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [channels]))
    session = open_session(measured.SerializeToString(), "cpu").session
    del measured
    names = [f"{name}_{figure}" for name in inputs for figure in ("largest", "power")]
    batches = [session.run(names, {session.get_inputs()[0].name: batch}) for batch in calibration]
    columns = zip(*batches, strict=True)
    figures = [np.stack([np.asarray(value, np.float64) for value in column]) for column in columns]
    return {
        name: Activations(figures[2 * place].max(axis=0), figures[2 * place + 1].mean(axis=0))
        for place, name in enumerate(inputs)
    }


def _even_out(model: "ModelProto", name: str, nodes: "list[NodeProto]", activations: Activations) -> None:
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    rows = np.max([np.abs(numpy_helper.to_array(weights[node.input[1]])).max(axis=1) for node in nodes], axis=0)
    # Channels that are always zero, and rows of zeros, have no scale of their own.
    columns = np.maximum(activations.largest, 1e-5 * activations.largest.max())
    scale = np.sqrt(columns / np.maximum(rows, 1e-5 * rows.max()))
    scale = (scale / np.exp(np.log(scale).mean())).astype(np.float32)
    for node in nodes:
        weight = weights[node.input[1]]
        evened = numpy_helper.from_array(numpy_helper.to_array(weight) * scale[:, None], f"{node.name}_evened")
        model.graph.initializer.append(evened)
        node.input[1] = evened.name
    norm = _normalisation(model, name, nodes)
    if norm is None:
        factor = numpy_helper.from_array(1 / scale, f"{name}_factor")
        model.graph.initializer.append(factor)
        multiply = helper.make_node("Mul", [name, factor.name], [f"{name}_even"], name=f"{name}_evening")
        model.graph.node.insert(list(model.graph.node).index(nodes[0]), multiply)
        for node in nodes:
            node.input[0] = multiply.output[0]
        return
    for place in range(1, len(norm.input)):
        values = numpy_helper.to_array(weights[norm.input[place]]) / scale
        model.graph.initializer.append(numpy_helper.from_array(values, f"{norm.name}_{place}_evened"))
        norm.input[place] = f"{norm.name}_{place}_evened"


def _normalisation(model: "ModelProto", name: str, nodes: "list[NodeProto]") -> "NodeProto | None":
    """The LayerNormalization whose result only these nodes read, directly or with its axes before the last turned."""
    from onnx import helper

    makers = {output: node for node in model.graph.node for output in node.output}
    readers = list(nodes)
    while True:
        if [node for node in model.graph.node if name in node.input] != readers:
            return None
        maker = makers.get(name)
        if maker is None:
            return None
        if maker.op_type == "LayerNormalization":
            weights = {tensor.name for tensor in model.graph.initializer}
            return maker if len(maker.output) == 1 and weights.issuperset(maker.input[1:]) else None
        if maker.op_type != "Transpose":
            return None
        order = helper.get_node_attr_value(maker, "perm")
        if order[-1] != len(order) - 1:
            return None
        readers, name = [maker], maker.input[0]
