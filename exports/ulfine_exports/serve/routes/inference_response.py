"""Writes the answer to an inference request of the Open Inference Protocol v2."""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ulfine_exports.serve.json_response import to_json
from ulfine_exports.serve.routes.inference_request import InferenceRequest, WantedOutput
from ulfine_exports.serve.served_model import ServedModel

VERSION = "1"
"""The only version of the only model."""

JSON_LENGTH = "Inference-Header-Content-Length"


_VALUES_AT_ONCE = 2**16
# Most bytes of a float32 as JSON, and of a number as a text with a place and a class, of which each byte may become an
# escape of six.
_JSON_NUMBER, _TEXT, _ESCAPED = 26, 150, 7


def answer_cost(request: InferenceRequest, model: ServedModel) -> int:
    """Bytes that the answer to a request takes at most, before it is written."""
    rows, n_classes = len(request.rows), len(model.class_names)
    cost = 4096 + 6 * len(request.id or "")
    for wanted in request.outputs:
        if wanted.top:
            cost += rows * min(wanted.top, n_classes) * (_TEXT + _ESCAPED * model.longest_name)
        else:
            cost += rows * n_classes * (4 if wanted.binary else _JSON_NUMBER)
    return cost


def write_inference_response(
    request: InferenceRequest, outputs: Mapping[str, NDArray[np.float32]], model: ServedModel
) -> tuple[list[bytes], dict[str, str]]:
    """Write the outputs that were asked for.

    Args:
        request: What was asked for.
        outputs: float32 (n, C) by name.
        model: What gave them.

    Returns:
        The body, in pieces, and its headers: JSON alone, or JSON followed by the binary tensors in their order.
    """
    about: dict[str, Any] = {"model_name": model.name, "model_version": VERSION}
    if request.id is not None:
        about["id"] = request.id
    pieces, tensors = [_open(about), b',"outputs":['], list[bytes]()
    for place, wanted in enumerate(request.outputs):
        values = outputs[wanted.name]
        described, raw = _classified(wanted, values, model) if wanted.top else _tensor(wanted, values)
        pieces += [b"," if place else b"", *described]
        tensors.append(raw)
    pieces.append(b"]}")
    if not any(wanted.binary for wanted in request.outputs):
        return pieces, {"Content-Type": "application/json"}
    length = str(sum(map(len, pieces)))
    return pieces + tensors, {"Content-Type": "application/octet-stream", JSON_LENGTH: length}


def _open(item: dict[str, Any]) -> bytes:
    """A JSON object without its last brace."""
    return to_json(item)[:-1]


def _tensor(wanted: WantedOutput, values: NDArray[np.float32]) -> tuple[list[bytes], bytes]:
    item: dict[str, Any] = {"name": wanted.name, "datatype": "FP32", "shape": list(values.shape)}
    if not wanted.binary:
        flat = values.ravel()
        # Python's numbers take six times what their text takes: never all of them.
        parts = (flat[first : first + _VALUES_AT_ONCE] for first in range(0, len(flat), _VALUES_AT_ONCE))
        return _with_data(item, (part.tolist() for part in parts)), b""
    raw = values.astype("<f4", copy=False).tobytes()
    return [to_json(item | {"parameters": {"binary_data_size": len(raw)}})], raw


def _classified(wanted: WantedOutput, values: NDArray[np.float32], model: ServedModel) -> tuple[list[bytes], bytes]:
    """The largest values of each row as text ``value:index:class``."""
    top = min(wanted.top, values.shape[1])
    texts = (_largest(row, top, model.class_names) for row in values)
    item: dict[str, Any] = {"name": wanted.name, "datatype": "BYTES", "shape": [len(values), top]}
    if not wanted.binary:
        return _with_data(item, texts), b""
    raw = b"".join(struct.pack("<I", len(data)) + data for row in texts for data in (text.encode() for text in row))
    return [to_json(item | {"parameters": {"binary_data_size": len(raw)}})], raw


def _largest(row: NDArray[np.float32], top: int, class_names: tuple[str, ...]) -> list[str]:
    order = np.argsort(-row, kind="stable")[:top].tolist()
    return [f"{row[index]:f}:{index}:{class_names[index]}" for index in order]


def _with_data(item: dict[str, Any], parts: Iterable[list[Any]]) -> list[bytes]:
    """A JSON object with ``data``, whose values come in parts."""
    data = [to_json(part)[1:-1] for part in parts]
    return [_open(item), b',"data":[', b",".join(part for part in data if part), b"]}"]
