"""8-bit graphs: the encoder's large layers multiply integers, whatever decides the answer stays in fp32.

Weights are signed and have one scale per output channel, activations are unsigned with one scale per tensor: the pair
that the VNNI instructions of today's CPUs multiply, so the full range of 8 bits is used (`reduce_range` off). Only
operators of the ONNX standard are written; onnxruntime fuses them into its own when it loads the file.
"""

import contextlib
import logging
import math
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ulfine_exports.inference.runtime import onnxruntime_without_telemetry
from ulfine_exports.lower_precision.encoder_part import encoder_nodes, heavy_weight, large_weights
from ulfine_exports.lower_precision.product_layers import drop_unread, plain_products, separate_biases
from ulfine_exports.lower_precision.smoothing import smooth

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

VARIANTS = ("static", "dynamic")
"""static: the range of every activation is fixed beforehand, on calibration rows; an image's answer does not depend on
its batch. dynamic: the range is taken from every batch as it comes; convolutions stay in fp32."""


Calibration = Callable[[], Iterable[NDArray[Any]]]
"""Gives batches for a graph's input, typical of what it will be fed, from the first one at every call."""


def quantise(model: "ModelProto", variants: Sequence[str], calibration: Calibration) -> "dict[str, ModelProto]":
    """Quantise the large layers of the encoder but the first, or of the classifier where there is no encoder.

    Args:
        model: An fp32 graph as `ulfine_exports.graphs.graph.build_graph` gives it; not changed.
        variants: Some of `VARIANTS`.
        calibration: What the activations are measured on.

    Returns:
        A new model for each variant, about a quarter as large.
    """
    prepared = plain_products(model)
    layers = [node.name for node in quantised_nodes(prepared)]
    smooth(prepared, layers, calibration())
    drop_unread(prepared)
    return {variant: _quantised(prepared, variant, layers, calibration) for variant in variants}


def _quantised(prepared: "ModelProto", variant: str, layers: list[str], calibration: Calibration) -> "ModelProto":
    import onnx

    onnxruntime_without_telemetry()
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    copy = separate_biases(prepared, layers if variant == "dynamic" else [])
    name, batches = copy.graph.input[0].name, iter(calibration())

    class Reader(CalibrationDataReader):
        def get_next(self) -> Any:  # None at the end, which the base class does not say
            return next(({name: batch} for batch in batches), None)

    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "quantised.onnx"
        if variant == "dynamic":
            quantize_dynamic(
                copy,
                path,
                op_types_to_quantize=["MatMul"],
                nodes_to_quantize=layers,
                per_channel=True,
                reduce_range=False,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
        else:
            quantize_static(
                copy,
                path,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul", "Gemm", "Conv"],
                nodes_to_quantize=layers,
                per_channel=True,
                reduce_range=False,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # The sum of a product is used as it is: rounding it to 8 bits would cost accuracy and gain nothing.
                extra_options={"MatMulConstBOnly": True, "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
            )
        return onnx.load(path)


def quantised_nodes(model: "ModelProto") -> "list[NodeProto]":
    """The layers that `quantise` converts; each encoder's first one reads pixels and stays in fp32."""
    large, weighted = large_weights(model), large_weights(model, 0)
    encoder = _after_pixels(encoder_nodes(model), weighted)
    layers = [node for node in encoder or model.graph.node if heavy_weight(node, large)]
    return [node for node in layers if node.op_type != "Gemm" or _is_plain(node)]


def _after_pixels(nodes: "list[NodeProto]", weights: set[str]) -> "list[NodeProto]":
    """The layers of encoders that read what another layer made."""
    made: set[str] = set()
    found: list[NodeProto] = []
    for node in nodes:
        layer, reads = heavy_weight(node, weights) is not None, not made.isdisjoint(node.input)
        if layer and reads:
            found.append(node)
        if layer or reads:
            made.update(node.output)
    return found


def _is_plain(node: "NodeProto") -> bool:
    """Whether a Gemm is a product and a bias: neither factors nor a transposed first matrix."""
    from onnx import helper

    options = {item.name: helper.get_attribute_value(item) for item in node.attribute}
    return not options.get("transA") and options.get("alpha", 1.0) == options.get("beta", 1.0) == 1.0


def variants_for(model: "ModelProto") -> tuple[str, ...]:
    """The variants worth trying: ``dynamic`` leaves convolutions alone, and a convolutional encoder nearly whole."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    layers = [(node.op_type, sizes[node.input[1]]) for node in quantised_nodes(model)]
    convolutions = sum(size for operator, size in layers if operator == "Conv")
    return ("static",) if 2 * convolutions > sum(size for _, size in layers) else VARIANTS


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Hold back the advice that the quantiser gives to programmers, through the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
