"""Reads an inference request of the Open Inference Protocol v2, in JSON and with binary tensors.

Specified at https://github.com/kserve/open-inference-protocol and, for the binary tensors and the classification, in
Triton's extensions of it.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from ulfine_exports.serve.refusal import Refusal
from ulfine_exports.serve.served_model import ServedModel, Tensor


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


class _Strict(BaseModel):
    # Unknown keys are left alone: the protocol has extensions that do not concern this server.
    model_config = ConfigDict(strict=True, extra="ignore")


class _Input(_Strict):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = Field(default_factory=dict)
    data: Any = None


class _Output(_Strict):
    name: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class _Request(_Strict):
    id: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    inputs: list[_Input]
    outputs: list[_Output] = Field(default_factory=list)


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
        request = _Request.model_validate(from_json(text, allow_inf_nan=False))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Refusal(400, f"{'.'.join(map(str, first['loc'])) or 'the request'}: {first['msg']}") from None
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {str(error).splitlines()[0]}") from None
    names = [item.name for item in request.inputs]
    if names != [model.input.name]:
        raise Refusal(400, f"the inputs are {names}: {model.name} takes exactly one, {model.input.name!r}")
    rows = _rows(request.inputs[0], binary, model.input, max_rows)
    return InferenceRequest(rows, _outputs(request, model), request.id)


def _rows(item: _Input, binary: "bytes | memoryview", tensor: Tensor, max_rows: int) -> NDArray[Any]:
    if item.datatype != tensor.datatype:
        raise Refusal(400, f"{item.name} has datatype {item.datatype!r}: it takes {tensor.datatype}")
    sizes = item.shape[1:]
    fits = len(item.shape) == 1 + len(tensor.row_shape) and all(
        (size > 0 if wanted == -1 else size == wanted) for size, wanted in zip(sizes, tensor.row_shape, strict=True)
    )
    if not fits or item.shape[0] < 0:
        raise Refusal(400, f"{item.name} has shape {item.shape}: it takes {tensor.shape}, -1 being any size")
    if item.shape[0] > max_rows:
        raise Refusal(413, f"{item.name} has {item.shape[0]} rows: send at most {max_rows} at a time")
    count = math.prod(item.shape)
    length = item.parameters.get("binary_data_size")
    if length is None:
        values = _values(item, tensor, count)
    else:
        if item.data is not None:
            raise Refusal(400, f"{item.name} comes both as data and as binary_data_size: send one")
        if length != len(binary) or length != count * tensor.dtype.itemsize:
            raise Refusal(
                400,
                f"{item.name} has binary_data_size {length}, {len(binary)} bytes follow the JSON, "
                f"and shape {item.shape} of {tensor.datatype} takes {count * tensor.dtype.itemsize}",
            )
        values = np.frombuffer(binary, tensor.dtype.newbyteorder("<"))
    if tensor.dtype.kind == "f" and not np.isfinite(values).all():
        raise Refusal(400, f"{item.name} holds NaN or infinite values")
    return values.reshape(item.shape)


def _values(item: _Input, tensor: Tensor, count: int) -> NDArray[Any]:
    """The numbers of ``data``, flat or nested as the shape says."""
    if not isinstance(item.data, list):
        raise Refusal(400, f"{item.name} has neither data nor binary_data_size")
    try:
        values = np.array(item.data) if item.data else np.zeros(0, tensor.dtype)
    except ValueError:
        raise Refusal(400, f"{item.name} has data of uneven lengths: shape {item.shape} is asked for") from None
    if values.dtype.kind not in "iuf" or (tensor.dtype.kind == "u" and values.dtype.kind == "f"):
        raise Refusal(400, f"{item.name} has data that are no {tensor.datatype} numbers")
    if values.size != count or (values.ndim != 1 and list(values.shape) != item.shape):
        raise Refusal(400, f"{item.name} has data of shape {list(values.shape)}: shape {item.shape} is asked for")
    if tensor.dtype.kind == "u" and values.size and not 0 <= values.min() <= values.max() <= 255:
        raise Refusal(400, f"{item.name} has data outside 0 to 255")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
        return values.astype(tensor.dtype).ravel()


def _outputs(request: _Request, model: ServedModel) -> tuple[WantedOutput, ...]:
    known = [tensor.name for tensor in model.outputs]
    binary = _flag(request.parameters, "binary_data_output", False)
    if not request.outputs:
        return tuple(WantedOutput(name, binary) for name in known)
    wanted = []
    for item in request.outputs:
        if item.name not in known:
            raise Refusal(400, f"there is no output {item.name!r}: choose from {', '.join(known)}")
        top = item.parameters.get("classification", 0)
        if isinstance(top, bool) or not isinstance(top, int) or top < 0:
            raise Refusal(400, f"classification is {top!r}: it takes a whole number, how many classes are wanted")
        wanted.append(WantedOutput(item.name, _flag(item.parameters, "binary_data", binary), top))
    return tuple(wanted)


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Refusal(400, f"{name} is {value!r}: it takes true or false")
    return value
