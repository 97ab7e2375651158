"""From torch modules to a canonical ONNX graph."""

import contextlib
import logging
import math
import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from onnx import ModelProto

OUTPUTS = ("probabilities", "logits")

MAX_BYTES = 2**31 - 2**20
"""Protobuf's limit of 2 GiB for a single file, less room for the metadata."""


class FeatureGraph(nn.Module):
    """CLIP features to probabilities and logits.

    The classifier scales rows to unit length itself, so a caller may feed features of any scale. A row of zeros stays
    zeros and gives finite probabilities.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Map float32 (N, D) to probabilities (N, C) and logits (N, C)."""
        logits = self.classifier(features)
        return logits.softmax(dim=-1), logits


class PixelGraph(nn.Module):
    """Normalised pixels to probabilities and logits: the encoder's image tower before a `FeatureGraph`."""

    def __init__(self, image_tower: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.image_tower = image_tower
        self.head = FeatureGraph(classifier)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Map float32 (N, 3, H, W), as `Preprocess.normalise` gives them, to (N, C) twice."""
        return self.head(self.image_tower(pixels))


def build_graph(module: nn.Module, input_name: str, shape: tuple[int, ...], opset: int) -> "tuple[ModelProto, str]":
    """Export a module with one input and the outputs `OUTPUTS`, the batch axis dynamic.

    torch's current exporter comes first. Where it cannot trace an encoder, the TorchScript exporter follows, with the
    fused attention kernel off, for which ONNX has no operator.

    Args:
        module: Maps one float32 tensor (N, *shape) to two (N, C).
        input_name: Name of the graph's input.
        shape: Shape of one row.
        opset: Version of the ONNX operator set, one of `ulfine_exports.opsets.OPSETS`.

    Returns:
        The canonical model and the exporter that made it, ``"dynamo"`` or ``"torchscript"``.

    Raises:
        UlfineError: The model is over 2 GB, or neither exporter can write it.
    """
    module = module.eval().cpu().float()
    size = sum(math.prod(tensor.shape) * tensor.element_size() for tensor in module.state_dict().values())
    if size > MAX_BYTES:
        raise UlfineError(
            f"the encoder and classifier take {size / 1e9:.1f} GB, over the 2 GB that one ONNX file can hold: "
            "export with --input features"
        )
    # The example has two rows: one would be specialised to a constant batch of 1. It is not random noise from the
    # global generator, so that exporting leaves no trace there.
    example = torch.linspace(-1.0, 1.0, 2 * math.prod(shape)).reshape(2, *shape)
    try:
        model, exporter = _with_dynamo(module, input_name, example, opset), "dynamo"
    except Exception as first:  # the exporter raises whatever the traced code raises
        try:
            model, exporter = _with_torchscript(module, input_name, example, opset), "torchscript"
        except Exception as second:
            raise UlfineError(
                f"torch cannot write this model as ONNX with opset {opset} ({_first_line(second)}): "
                "try another --opset or --input features"
            ) from first
    return canonical(model), exporter


def canonical(model: "ModelProto") -> "ModelProto":
    """Strip all that says where and when a graph was made: stack traces, doc strings, scopes.

    torch's exporter keeps the Python stack of every node in the node's metadata, machine paths included. Nothing that
    runs reads it, and with it the same run would export to different bytes on another machine.
    """
    model.doc_string = ""
    del model.metadata_props[:]
    for function in model.functions:
        _strip(function)
    _strip(model.graph)
    return model


def _strip(holder: Any) -> None:
    """Clear doc strings and metadata of a graph or function and of all that is inside it."""
    from onnx import AttributeProto

    holder.doc_string = ""
    del holder.metadata_props[:]
    for name in ("input", "output", "value_info", "initializer"):
        for item in getattr(holder, name, ()):
            if not isinstance(item, str):
                item.doc_string = ""
                del item.metadata_props[:]
    for node in holder.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            attribute.doc_string = ""
            if attribute.type == AttributeProto.GRAPH:
                _strip(attribute.g)


def _with_dynamo(module: nn.Module, input_name: str, example: Tensor, opset: int) -> "ModelProto":
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            input_names=[input_name],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            opset_version=opset,
            external_data=False,
            verbose=False,
        )
    model = cast("ModelProto", cast(Any, program).model_proto)
    found = next((item.version for item in model.opset_import if item.domain == ""), None)
    if found != opset:
        # The exporter only warns when it cannot convert to the version that was asked for.
        raise ValueError(f"the exporter wrote opset {found}")
    return model


def _with_torchscript(module: nn.Module, input_name: str, example: Tensor, opset: int) -> "ModelProto":
    import onnx

    buffer = BytesIO()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _quiet(), torch.no_grad():
            torch.onnx.export(
                module,
                (example,),
                cast(Any, buffer),
                dynamo=False,
                input_names=[input_name],
                output_names=list(OUTPUTS),
                dynamic_axes={name: {0: "batch"} for name in (input_name, *OUTPUTS)},
                opset_version=opset,
            )
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    return onnx.load_model_from_string(buffer.getvalue())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporters say to programmers: the parity gate is what judges their work."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
