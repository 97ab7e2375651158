"""Writes the answer to an inference request of the Open Inference Protocol v2."""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from ulfine_exports.serve.routes.inference_request import InferenceRequest, WantedOutput
from ulfine_exports.serve.served_model import ServedModel

VERSION = "1"
"""The only version of the only model."""

JSON_LENGTH = "Inference-Header-Content-Length"


def write_inference_response(
    request: InferenceRequest, outputs: Mapping[str, NDArray[np.float32]], model: ServedModel
) -> tuple[bytes, dict[str, str]]:
    """Write the outputs that were asked for.

    Args:
        request: What was asked for.
        outputs: float32 (n, C) by name.
        model: What gave them.

    Returns:
        The body and its headers: JSON alone, or JSON followed by the binary tensors in their order.
    """
    described, tensors = [], []
    for wanted in request.outputs:
        values = outputs[wanted.name]
        item, raw = _classified(wanted, values, model) if wanted.top else _tensor(wanted, values)
        described.append(item)
        tensors.append(raw)
    answer: dict[str, Any] = {"model_name": model.name, "model_version": VERSION, "outputs": described}
    if request.id is not None:
        answer["id"] = request.id
    text = to_json(answer)
    if not any(wanted.binary for wanted in request.outputs):
        return text, {"Content-Type": "application/json"}
    body = b"".join([text, *tensors])
    return body, {"Content-Type": "application/octet-stream", JSON_LENGTH: str(len(text))}


def _tensor(wanted: WantedOutput, values: NDArray[np.float32]) -> tuple[dict[str, Any], bytes]:
    item: dict[str, Any] = {"name": wanted.name, "datatype": "FP32", "shape": list(values.shape)}
    if not wanted.binary:
        return item | {"data": values.ravel().tolist()}, b""
    raw = values.astype("<f4", copy=False).tobytes()
    return item | {"parameters": {"binary_data_size": len(raw)}}, raw


def _classified(wanted: WantedOutput, values: NDArray[np.float32], model: ServedModel) -> tuple[dict[str, Any], bytes]:
    """The largest values of each row as text ``value:index:class``."""
    top = min(wanted.top, values.shape[1])
    order = np.argsort(-values, axis=1, kind="stable")[:, :top]
    texts = [
        f"{row[index]:f}:{index}:{model.class_names[index]}"
        for row, indices in zip(values, order.tolist(), strict=True)
        for index in indices
    ]
    item: dict[str, Any] = {"name": wanted.name, "datatype": "BYTES", "shape": [len(values), top]}
    if not wanted.binary:
        return item | {"data": texts}, b""
    raw = b"".join(struct.pack("<I", len(data)) + data for data in (text.encode() for text in texts))
    return item | {"parameters": {"binary_data_size": len(raw)}}, raw
