"""From torch modules to a canonical ONNX graph."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ulfine_cache.errors import UlfineError
from ulfine_exports.graphs.exporters import with_dynamo, with_torchscript
from ulfine_exports.graphs.plain_norms import plain_norms

if TYPE_CHECKING:
    from onnx import ModelProto

OUTPUTS = ("probabilities", "logits")

MAX_BYTES = 2**31 - 2**20
"""Protobuf's limit of 2 GiB for a single file, less room for the metadata."""


class FeatureGraph(nn.Module):
    """CLIP features to probabilities and logits, and if wanted to the logits that were fused.

    The classifier scales rows to unit length itself, so a caller may feed features of any scale. A row of zeros stays
    zeros and gives finite probabilities.

    Args:
        classifier: A `LogitModel`, or any module from (N, D) to logits (N, C) where `parts` is empty.
        parts: Names of the fused logits to give as well, see `LogitModel.parts`.
    """

    def __init__(self, classifier: nn.Module, parts: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.classifier = classifier
        self.parts = parts

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of `forward`."""
        return (*OUTPUTS, *(f"logits_{part}" for part in self.parts))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Map float32 (N, D) to probabilities, logits and the logits of each part, (N, C) each."""
        return with_probabilities(self.all_logits(features))

    def all_logits(self, features: Tensor) -> tuple[Tensor, ...]:
        """The logits and those of each part, (N, C) each."""
        logits = self.classifier(features)
        if not self.parts:
            return (logits,)
        found = self.classifier.parts(features)  # pyright: ignore[reportCallIssue]
        return (logits, *(found[part] for part in self.parts))


class PixelGraph(nn.Module):
    """Normalised pixels to probabilities and logits: the encoder's image tower before a `FeatureGraph`."""

    def __init__(self, image_tower: nn.Module, classifier: nn.Module, parts: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.image_tower = image_tower
        self.head = FeatureGraph(classifier, parts)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs, in the order of `forward`."""
        return self.head.outputs

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map float32 (N, 3, H, W), as `Preprocess.normalise` gives them, to (N, C) each."""
        return self.head(self.image_tower(pixels))


class ViewsGraph(PixelGraph):
    """The same for several views of each image: their logits are averaged, then comes the softmax."""

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Map float32 (N, views, 3, H, W) to (N, C) each."""
        features = self.image_tower(pixels.flatten(0, 1))
        logits = self.head.all_logits(features)
        return with_probabilities(tuple(item.unflatten(0, (-1, pixels.shape[1])).mean(dim=1) for item in logits))


def with_probabilities(logits: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Put the probabilities before the logits, of which the first decide."""
    return (logits[0].softmax(dim=-1), *logits)


def build_graph(
    module: nn.Module, input_name: str, shape: tuple[int, ...], opset: int, outputs: tuple[str, ...] = OUTPUTS
) -> "tuple[ModelProto, str]":
    """Export a module with one input, the batch axis dynamic.

    torch's current exporter comes first. Where it cannot trace an encoder, the TorchScript exporter follows.

    Args:
        module: Maps one float32 tensor (N, *shape) to one (N, C) for each output.
        input_name: Name of the graph's input.
        shape: Shape of one row.
        opset: Version of the ONNX operator set, one of `ulfine_exports.graphs.opsets.OPSETS`.
        outputs: Names of the outputs.

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
        model, exporter = with_dynamo(module, input_name, example, opset, outputs), "dynamo"
    except Exception as first:  # the exporter raises whatever the traced code raises
        try:
            model, exporter = with_torchscript(module, input_name, example, opset, outputs), "torchscript"
        except Exception as second:
            raise UlfineError(
                f"torch cannot write this model as ONNX with opset {opset} ({_first_line(second)}): "
                "try another --opset or --input features"
            ) from first
    return canonical(model), exporter


def canonical(model: "ModelProto") -> "ModelProto":
    """Strip all that says where and when a graph was made: stack traces, doc strings, scopes. Spell lengths plainly.

    torch's exporter keeps the Python stack of every node in the node's metadata, machine paths included. Nothing that
    runs reads it, and with it the same run would export to different bytes on another machine.
    """
    model.doc_string = ""
    del model.metadata_props[:]
    for function in model.functions:
        _strip(function)
    _strip(model.graph)
    plain_norms(model)
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


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
