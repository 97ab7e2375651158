"""Reads an inference request of the Open Inference Protocol v2, in JSON and with binary tensors.

Specified at https://github.com/kserve/open-inference-protocol and, for the binary tensors and the classification, in
Triton's extensions of it.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from ulfine_exports.serve.refusal import Refusal
from ulfine_exports.serve.served_model import ServedModel, Tensor

_T = TypeVar("_T")
_WORDS: dict[type, str] = {list: "a list", str: "text", dict: "a JSON object"}


@dataclass(frozen=True)
class WantedOutput:
    """One output that the client asks for.

    Attributes:
        name: Its name in the graph.
        binary: Whether it comes as raw bytes after the JSON.
        top: How many of the largest values are wanted as ``value:index:class``; 0 for the tensor itself.
    """

    name: str
    binary: bool = False
    top: int = 0


@dataclass(frozen=True)
class InferenceRequest:
    """What a client wants.

    Attributes:
        rows: (n, ...) of the model's input.
        outputs: What is to be answered.
        id: Comes back with the answer.
    """

    rows: NDArray[Any]
    outputs: tuple[WantedOutput, ...]
    id: str | None = None


def read_inference_request(
    body: bytes | bytearray, json_length: int | None, model: ServedModel, max_rows: int
) -> InferenceRequest:
    """Read the body of a request.

    Args:
        body: JSON, and after it the binary tensors if there are any.
        json_length: How many bytes of the body are JSON, of the header ``Inference-Header-Content-Length``; None: all.
        model: Whose input is checked against.
        max_rows: Most rows that one request may hold.

    Raises:
        Refusal: It is no such request, or its tensor does not fit the model; 400, or 413 for too many rows.
    """
    if json_length is not None and json_length > len(body):
        raise Refusal(400, f"Inference-Header-Content-Length is {json_length}, the body has {len(body)} bytes")
    text, binary = (body, b"") if json_length is None else (body[:json_length], memoryview(body)[json_length:])
    try:
        request = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {str(error).splitlines()[0]}") from None
    # Unknown keys are left alone: the protocol has extensions that do not concern this server.
    if not isinstance(request, dict):
        raise Refusal(400, "the request is no JSON object")
    inputs = _field(request, "inputs", list, "the request")
    names = [_field(item, "name", str, "an input") for item in inputs]
    if names != [model.input.name]:
        raise Refusal(400, f"the inputs are {names}: {model.name} takes exactly one, {model.input.name!r}")
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise Refusal(400, f"id is {identity!r}: it takes text")
    return InferenceRequest(_rows(inputs[0], binary, model.input, max_rows), _outputs(request, model), identity)


def _field(item: Any, name: str, kind: type[_T], where: str, default: _T | None = None) -> _T:
    """The field of a JSON object, which has to be there unless it has a default."""
    if not isinstance(item, dict):
        raise Refusal(400, f"{where} is {str(item)[:50]!r}: it takes a JSON object")
    value = item.get(name, default)
    if not isinstance(value, kind):
        found = f"is {str(value)[:50]!r}" if name in item else "is missing"
        raise Refusal(400, f"{name} of {where} {found}: it takes {_WORDS[kind]}")
    return value


def _rows(item: dict[str, Any], binary: "bytes | memoryview", tensor: Tensor, max_rows: int) -> NDArray[Any]:
    name, shape = tensor.name, _field(item, "shape", list, tensor.name)
    datatype = _field(item, "datatype", str, name)
    if datatype != tensor.datatype:
        raise Refusal(400, f"{name} has datatype {datatype!r}: it takes {tensor.datatype}")
    fits = len(shape) == len(tensor.shape) and all(type(size) is int for size in shape)
    if not fits or not all(
        size > 0 if wanted == -1 else size == wanted for size, wanted in zip(shape[1:], tensor.row_shape, strict=True)
    ):
        raise Refusal(400, f"{name} has shape {shape}: it takes {tensor.shape}, -1 being any size")
    if not 0 <= shape[0] <= max_rows:
        raise Refusal(413, f"{name} has {shape[0]} rows: send at most {max_rows} at a time")
    count = math.prod(shape)
    length = _field(item, "parameters", dict, name, {}).get("binary_data_size")
    if length is None:
        values = _values(item, tensor, shape, count)
    else:
        if item.get("data") is not None:
            raise Refusal(400, f"{name} comes both as data and as binary_data_size: send one")
        if length != len(binary) or length != count * tensor.dtype.itemsize:
            raise Refusal(
                400,
                f"{name} has binary_data_size {length}, {len(binary)} bytes follow the JSON, "
                f"and shape {shape} of {tensor.datatype} takes {count * tensor.dtype.itemsize}",
            )
        values = np.frombuffer(binary, tensor.dtype.newbyteorder("<"))
    if tensor.dtype.kind == "f" and not np.isfinite(values).all():
        raise Refusal(400, f"{name} holds NaN or infinite values")
    return values.reshape(shape)


def _values(item: dict[str, Any], tensor: Tensor, shape: list[int], count: int) -> NDArray[Any]:
    """The numbers of ``data``, flat or nested as the shape says."""
    name, data = tensor.name, item.get("data")
    if not isinstance(data, list):
        raise Refusal(400, f"{name} has neither data nor binary_data_size")
    try:
        values = np.array(data) if data else np.zeros(0, tensor.dtype)
    except ValueError:
        raise Refusal(400, f"{name} has data of uneven lengths: shape {shape} is asked for") from None
    if values.dtype.kind not in "iuf" or (tensor.dtype.kind == "u" and values.dtype.kind == "f"):
        raise Refusal(400, f"{name} has data that are no {tensor.datatype} numbers")
    if values.size != count or (values.ndim != 1 and list(values.shape) != shape):
        raise Refusal(400, f"{name} has data of shape {list(values.shape)}: shape {shape} is asked for")
    if tensor.dtype.kind == "u" and values.size and not 0 <= values.min() <= values.max() <= 255:
        raise Refusal(400, f"{name} has data outside 0 to 255")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
        return values.astype(tensor.dtype).ravel()


def _outputs(request: dict[str, Any], model: ServedModel) -> tuple[WantedOutput, ...]:
    known = [tensor.name for tensor in model.outputs]
    binary = _flag(_field(request, "parameters", dict, "the request", {}), "binary_data_output", False)
    outputs = _field(request, "outputs", list, "the request", [])
    if not outputs:
        return tuple(WantedOutput(name, binary) for name in known)
    wanted = []
    for item in outputs:
        name = _field(item, "name", str, "an output")
        if name not in known:
            raise Refusal(400, f"there is no output {name!r}: choose from {', '.join(known)}")
        parameters = _field(item, "parameters", dict, name, {})
        top = parameters.get("classification", 0)
        if isinstance(top, bool) or not isinstance(top, int) or top < 0:
            raise Refusal(400, f"classification is {top!r}: it takes a whole number, how many classes are wanted")
        wanted.append(WantedOutput(name, _flag(parameters, "binary_data", binary), top))
    return tuple(wanted)


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Refusal(400, f"{name} is {value!r}: it takes true or false")
    return value
