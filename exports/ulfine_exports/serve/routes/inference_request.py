"""Reads an inference request of the Open Inference Protocol v2, in JSON and with binary tensors.

Specified at https://github.com/kserve/open-inference-protocol and, for the binary tensors and the classification, in
Triton's extensions of it.
"""

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from ulfine_cache.wording.counts import amount, subject
from ulfine_exports.serve.refusal import Refusal
from ulfine_exports.serve.served_model import ServedModel, Tensor

_T = TypeVar("_T")
_LARGEST_SIZE = 2**40
_quoted = reprlib.repr
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


def parts_of(body: bytearray, json_length: int | None) -> tuple[bytearray, memoryview]:
    """The JSON and the binary tensors of a body.

    Args:
        body: JSON, and after it the binary tensors if there are any.
        json_length: How many bytes of the body are JSON, of the header ``Inference-Header-Content-Length``; None: all.

    Raises:
        Refusal: The body is shorter; 400.
    """
    if json_length is None:
        return body, memoryview(b"")
    if json_length > len(body):
        raise Refusal(
            400, f"Inference-Header-Content-Length is {json_length}, the body has {amount(len(body), 'byte')}"
        )
    return body[:json_length], memoryview(body)[json_length:]


def read_inference_request(
    text: bytes | bytearray, binary: bytes | memoryview, model: ServedModel, max_rows: int
) -> InferenceRequest:
    """Read a request.

    Args:
        text: Its JSON; what that may take is for `ulfine_exports.serve.bounds.json_cost`.
        binary: Its binary tensors, or nothing.
        model: Whose input is checked against.
        max_rows: Most rows that one request may hold.

    Raises:
        Refusal: It is no such request, or its tensor does not fit the model; 400, or 413 for too many rows.
    """
    try:
        request = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {str(error).splitlines()[0]}") from None
    # Unknown keys are left alone: the protocol has extensions that do not concern this server.
    if not isinstance(request, dict):
        raise Refusal(400, "the request is no JSON object")
    inputs = _field(request, "inputs", list, "the request")
    names = [_field(item, "name", str, "an input") for item in inputs[:9]]
    if len(inputs) != 1 or names != [model.input.name]:
        raise Refusal(400, f"the inputs are {names}: {model.name} takes exactly one, {model.input.name!r}")
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise Refusal(400, f"id is {_quoted(identity)}: it takes text")
    return InferenceRequest(_rows(inputs[0], binary, model, max_rows), _outputs(request, model), identity)


def _field(item: Any, name: str, kind: type[_T], where: str, default: _T | None = None) -> _T:
    """The field of a JSON object, which has to be there unless it has a default."""
    if not isinstance(item, dict):
        raise Refusal(400, f"{where} is {_quoted(item)}: it takes a JSON object")
    value = item.get(name, default)
    if not isinstance(value, kind):
        found = f"is {_quoted(value)}" if name in item else "is missing"
        raise Refusal(400, f"{name} of {where} {found}: it takes {_WORDS[kind]}")
    return value


def _rows(item: dict[str, Any], binary: "bytes | memoryview", model: ServedModel, max_rows: int) -> NDArray[Any]:
    tensor = model.input
    name, shape = tensor.name, _field(item, "shape", list, tensor.name)
    datatype = _field(item, "datatype", str, name)
    if datatype != tensor.datatype:
        raise Refusal(400, f"{name} has datatype {_quoted(datatype)}: it takes {tensor.datatype}")
    fits = len(shape) == len(tensor.shape) and all(type(size) is int for size in shape)
    if not fits or not all(
        0 < size < _LARGEST_SIZE if wanted == -1 else size == wanted
        for size, wanted in zip(shape[1:], tensor.row_shape, strict=True)
    ):
        raise Refusal(400, f"{name} has shape {_quoted(shape)}: it takes {tensor.shape}, -1 being any size")
    if not 0 <= shape[0] <= max_rows:
        raise Refusal(413, f"{name} has {_quoted(shape[0])} rows: send at most {max_rows} at a time")
    count = math.prod(shape)
    length = _field(item, "parameters", dict, name, {}).get("binary_data_size")
    if length is None:
        if len(binary):
            raise Refusal(
                400, f"{subject(len(binary), 'byte', 'follows/follow')} the JSON, and {name} has no binary_data_size"
            )
        values = _values(item, tensor, shape, count)
    else:
        if item.get("data") is not None:
            raise Refusal(400, f"{name} comes both as data and as binary_data_size: send one")
        if type(length) is not int or length != len(binary) or length != count * tensor.dtype.itemsize:
            raise Refusal(
                400,
                f"{name} has binary_data_size {_quoted(length)}, "
                f"{subject(len(binary), 'byte', 'follows/follow')} the JSON, and shape {shape} of {tensor.datatype} "
                f"takes {count * tensor.dtype.itemsize}",
            )
        values = np.frombuffer(binary, tensor.dtype.newbyteorder("<"))
    rows = values.reshape(shape)
    if complaint := model.objection(rows):
        raise Refusal(400, complaint)
    return rows


def _values(item: dict[str, Any], tensor: Tensor, shape: list[int], count: int) -> NDArray[Any]:
    """The numbers of ``data``, flat or nested as the shape says. All is checked before an array is made."""
    name, data = tensor.name, item.get("data")
    if not isinstance(data, list):
        raise Refusal(400, f"{name} has neither data nor binary_data_size")
    found, flat = _flattened(data, len(shape), name)
    if found != [count] and found != shape:
        raise Refusal(400, f"{name} has data of shape {found}: shape {shape} is asked for")
    # NumPy would make numbers of texts, and room for the longest text in every place.
    whole = tensor.dtype.kind == "u"
    kinds = set(map(type, flat))
    if kinds - {int, float} or (whole and float in kinds and not all(map(float.is_integer, map(float, flat)))):
        raise Refusal(400, f"{name} has data that are no {tensor.datatype} numbers")
    if whole and flat and not 0 <= min(flat) <= max(flat) <= 255:
        raise Refusal(400, f"{name} has data outside 0 to 255")
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
            return np.array(flat, dtype=tensor.dtype)
    except OverflowError:
        raise Refusal(400, f"{name} has data that are no {tensor.datatype} numbers") from None


def _flattened(data: list[Any], most: int, name: str) -> tuple[list[int], Sequence[Any]]:
    """Lengths of nested lists, level by level, and what is in the innermost ones."""
    found, flat = [len(data)], data
    while len(found) < most and flat and isinstance(flat[0], list):
        size = len(flat[0])
        if not all(isinstance(part, list) and len(part) == size for part in flat):
            raise Refusal(400, f"{name} has data of uneven lengths: lists of one level have to be equally long")
        found.append(size)
        flat = list(chain.from_iterable(flat))
    return found, flat


def _outputs(request: dict[str, Any], model: ServedModel) -> tuple[WantedOutput, ...]:
    known = [tensor.name for tensor in model.outputs]
    binary = _flag(_field(request, "parameters", dict, "the request", {}), "binary_data_output", False)
    outputs = _field(request, "outputs", list, "the request", [])
    if not outputs:
        return tuple(WantedOutput(name, binary) for name in known)
    # Before each is looked at: a request may name millions.
    names = [_field(item, "name", str, "an output") for item in outputs[: len(known) + 1]]
    of_classes = {tensor.name for tensor in model.outputs if tensor.row_shape}
    for place, name in enumerate(names):
        if name not in known:
            raise Refusal(400, f"there is no output {_quoted(name)}: choose from {', '.join(known)}")
        if name in names[:place]:
            raise Refusal(400, f"the output {name!r} is asked for twice: name each once")
    found = tuple(_wanted(item, name, binary) for item, name in zip(outputs, names, strict=True))
    for wanted in found:
        if wanted.top and wanted.name not in of_classes:
            raise Refusal(400, f"the output {wanted.name!r} is one number a row: it has no classification")
    return found


def _wanted(item: dict[str, Any], name: str, binary: bool) -> WantedOutput:
    parameters = _field(item, "parameters", dict, name, {})
    top = parameters.get("classification", 0)
    # In JSON 2.0 is a whole number, too.
    top = int(top) if isinstance(top, float) and top.is_integer() else top
    if isinstance(top, bool) or not isinstance(top, int) or top < 0:
        raise Refusal(400, f"classification is {_quoted(top)}: it takes a whole number, how many classes are wanted")
    return WantedOutput(name, _flag(parameters, "binary_data", binary), top)


def _flag(parameters: dict[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Refusal(400, f"{name} is {_quoted(value)}: it takes true or false")
    return value
