"""The features inside a graph that takes pictures: an output that is asked for without being written into the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ulfine_cache.errors import UlfineError

if TYPE_CHECKING:
    from onnx import ModelProto


def feature_tensor(model: ModelProto) -> str | None:
    """Name the tensor in which an image has become one vector; None where there is none."""
    from ulfine_exports.lower_precision.encoder_part import encoder_nodes

    nodes = encoder_nodes(model)
    return nodes[-1].output[0] if nodes else None


def open_with_features(
    model: ModelProto, tensor: str
) -> Callable[[NDArray[Any]], tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Open a graph so that it tells features and probabilities of a batch.

    Args:
        model: An exported file; not changed.
        tensor: Of `feature_tensor`; "": the input is features.

    Returns:
        A function from a batch of the input to float32 (n, D), of the first view, and float32 (n, C).

    Raises:
        UlfineError: The tensor is none of the graph's.
    """
    from onnx import ModelProto, TensorProto, helper

    from ulfine_exports.inference.providers import open_session

    copy = ModelProto()
    copy.CopyFrom(model)
    wanted = ["probabilities"]
    if tensor:
        if not any(tensor in node.output for node in copy.graph.node):
            raise UlfineError(f"the file has no tensor {tensor!r}, which its metadata name: export it again")
        copy.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
        wanted.append(tensor)
    session, name = open_session(copy.SerializeToString(), "cpu").session, copy.graph.input[0].name

    def run(batch: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        probabilities, *inner = (np.asarray(found) for found in session.run(wanted, {name: batch}))
        features = inner[0] if tensor else batch
        if features.ndim != 2 or len(features) % len(batch):
            raise UlfineError(f"the tensor {tensor!r} holds no vector of an image: export the file again")
        # Of several views the first, as everywhere.
        return features[:: len(features) // len(batch)].astype(np.float32), probabilities

    return run
