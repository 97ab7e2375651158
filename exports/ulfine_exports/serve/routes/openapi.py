"""The server's interface as an OpenAPI document."""

import math
from typing import Any

from ulfine_exports.inference.acceptable import LARGEST_PIXEL
from ulfine_exports.serve.access.guard import Access
from ulfine_exports.serve.routes.classify_route import MAX_IMAGES
from ulfine_exports.serve.routes.inference_response import JSON_LENGTH, VERSION
from ulfine_exports.serve.served_model import Tensor
from ulfine_exports.serve.service import Service

_Schema = dict[str, Any]

_TEXT: _Schema = {"type": "string"}
_BINARY: _Schema = {"type": "string", "format": "binary"}


def openapi(service: Service, access: Access) -> _Schema:
    """OpenAPI 3.1 of this very server: the model's name, its input and its outputs are in it."""
    from ulfine_fast.version import __version__

    name = service.model.name
    paths: _Schema = {
        "/v2": {"get": _get("What this server is", _object(name=_TEXT, version=_TEXT, extensions=_list(_TEXT)))},
        "/v2/health/live": {"get": _get("Whether the process answers", _object(live={"const": True}))},
        "/v2/health/ready": {"get": _get("Whether requests will be answered", _ready(), refusing=True)},
        "/model": {"get": _get("What the exported file says about itself", {"type": "object"})},
        "/metrics": {"get": _get("Counts for Prometheus", _TEXT, content="text/plain")},
        "/v2/models/stats": {"get": _get("Counts as Triton's clients ask for them", _stats())},
        "/v2/repository/index": {"post": _index()},
        "/openapi.json": {"get": _get("This document", {"type": "object"})},
    }
    if service.model.takes_pictures:  # otherwise it says what to do instead
        paths["/classify"] = {"post": _classify(service)}
    for place in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{VERSION}"):
        paths[place] = {"get": _get("The model's inputs and outputs", _metadata(service))}
        paths[f"{place}/ready"] = {"get": _get("Whether the model will answer", _ready(), refusing=True)}
        paths[f"{place}/config"] = {"get": _get("The model's configuration, as Triton's", _config(service))}
        paths[f"{place}/stats"] = {"get": _get("The model's counts, as Triton's", _stats())}
        paths[f"{place}/infer"] = {"post": _infer(service)}
    secured: _Schema = {}
    components: _Schema = {"schemas": {"Error": _object(error=_TEXT)}}
    if access.keys is not None:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        secured = {"security": [{"key": []}]}
        for path in paths:
            for operation in paths[path].values():
                operation["responses"] |= _refused("401", "There is no key in the header Authorization, or a wrong one")
        for path in ("/v2/health/live", "/v2/health/ready"):
            paths[path]["get"]["security"] = []
            del paths[path]["get"]["responses"]["401"]
    return {
        "openapi": "3.1.0",
        "servers": [{"url": access.root or "/"}],
        **secured,
        "info": {
            "title": f"ulfine serve: {name}",
            "version": __version__,
            "description": "Open Inference Protocol v2 with binary tensors, and POST /classify for image files.",
        },
        "paths": paths,
        "components": components,
    }


def _get(summary: str, schema: _Schema, *, content: str = "application/json", refusing: bool = False) -> _Schema:
    responses: _Schema = {"200": {"description": "So it is", "content": {content: {"schema": schema}}}}
    if refusing:
        responses["503"] = {"description": "Not now", "content": {content: {"schema": schema}}}
    return {"summary": summary, "responses": responses}


def _classify(service: Service) -> _Schema:
    image = _object(
        name=_TEXT,
        label={"enum": list(service.model.class_names)},
        confidence={"type": "number", "minimum": 0},
        classes=_list(_object(name=_TEXT, probability={"type": "number", "minimum": 0})),
    )
    unreadable = _object(name=_TEXT, error=_TEXT)
    answer = _object(model_name={"const": service.model.name}, images=_list({"anyOf": [image, unreadable]}))
    form = {
        "type": "object",
        "properties": {"image": {**_list({**_BINARY, "minLength": 1}), "minItems": 1, "maxItems": MAX_IMAGES}},
        "required": ["image"],
    }
    return {
        "summary": "Classify image files",
        "description": "One file may also come as the body itself, of any type but that of a form.",
        "parameters": [
            {
                "name": "top",
                "in": "query",
                "description": "How many classes are wanted, the most probable first",
                "schema": {"type": "integer", "minimum": 1, "maximum": 99_999_999, "default": 5},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"multipart/form-data": {"schema": form}},
        },
        "responses": {"200": {"description": "One entry for each image", **_json(answer)}, **_refusals()},
    }


def _infer(service: Service) -> _Schema:
    tensor = service.model.input
    request = {
        "type": "object",
        "properties": {
            "id": _TEXT,
            "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
            "inputs": {**_list({"anyOf": _inputs(tensor)}), "minItems": 1, "maxItems": 1},
            "outputs": {"anyOf": _outputs(service)},
        },
        "required": ["inputs"],
    }
    answered = _object(name=_TEXT, datatype={"enum": ["FP32", "BYTES"]}, shape=_list({"type": "integer"}))
    answer = _object(model_name={"const": service.model.name}, model_version=_TEXT, outputs=_list(answered))
    return {
        "summary": "Run the model on tensors",
        "description": f"At most {service.max_rows} rows at a time, flat or nested. JSON Schema cannot say that data "
        "holds as many numbers as shape says: what it describes are requests of one row and of none. Binary tensors "
        f"come as application/octet-stream with the header {JSON_LENGTH}, as the protocol says.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": request, "example": _example(tensor)}},
        },
        "responses": {
            "200": {
                "description": "The outputs",
                "content": {"application/json": {"schema": answer}, "application/octet-stream": {"schema": _BINARY}},
            },
            **_refusals(),
        },
    }


def _inputs(tensor: Tensor) -> list[_Schema]:
    """One row, and none."""
    row = [max(size, 1) for size in tensor.row_shape]
    largest = LARGEST_PIXEL if tensor.name == "pixels" else 1e6
    numbers: _Schema = {"type": "number", "minimum": -largest, "maximum": largest}
    if tensor.datatype == "UINT8":
        numbers = {"type": "integer", "minimum": 0, "maximum": 255}
    one: _Schema = {**_list(numbers), "minItems": math.prod(row), "maxItems": math.prod(row)}
    if tensor.name == "features":
        one["contains"] = {"minimum": 1e-6}  # zeros have no direction
    none: _Schema = {**_list(numbers), "maxItems": 0}
    return [
        _object(name={"const": tensor.name}, shape={"const": shape}, datatype={"const": tensor.datatype}, data=data)
        | {"additionalProperties": False}
        for shape, data in (([1, *row], one), ([0, *row], none))
    ]


def _outputs(service: Service) -> list[_Schema]:
    """One, with what is wanted of it, or several, each once."""
    name: _Schema = {"enum": [tensor.name for tensor in service.model.outputs]}
    wanted: _Schema = {"binary_data": {"type": "boolean"}, "classification": {"type": "integer", "minimum": 0}}
    parameters: _Schema = {"type": "object", "properties": wanted}
    one: _Schema = {"type": "object", "properties": {"name": name, "parameters": parameters}, "required": ["name"]}
    each = _object(name=name) | {"additionalProperties": False}
    return [{**_list(one), "maxItems": 1}, {**_list(each), "uniqueItems": True}]


def _config(service: Service) -> _Schema:
    return _object(
        name={"const": service.model.name},
        platform=_TEXT,
        max_batch_size={"type": "integer", "minimum": 1},
        input=_list({"type": "object"}),
        output=_list({"type": "object"}),
    )


def _stats() -> _Schema:
    count: _Schema = {"type": "integer", "minimum": 0}
    model = _object(
        name=_TEXT,
        version=_TEXT,
        inference_count=count,
        execution_count=count,
        inference_stats={"type": "object", "additionalProperties": _object(count=count, ns=count)},
    )
    return _object(model_stats=_list(model))


def _index() -> _Schema:
    model = _object(name=_TEXT, version=_TEXT, state={"enum": ["READY", "UNAVAILABLE"]}, reason=_TEXT)
    described = _get("The models of this server: one", _list(model))
    described["responses"] |= _refusals()
    return described


def _example(tensor: Tensor) -> _Schema:
    # Pictures in JSON are too long to read: no rows show the form as well.
    shape = [0, *(max(size, 1) for size in tensor.row_shape)]
    return {"inputs": [{"name": tensor.name, "shape": shape, "datatype": tensor.datatype, "data": []}]}


def _metadata(service: Service) -> _Schema:
    tensor = _object(name=_TEXT, datatype=_TEXT, shape=_list({"type": "integer"}))
    return _object(
        name={"const": service.model.name},
        versions=_list(_TEXT),
        platform=_TEXT,
        inputs=_list(tensor),
        outputs=_list(tensor),
    )


def _ready() -> _Schema:
    return _object(ready={"type": "boolean"})


def _refused(code: str, reason: str) -> _Schema:
    return {code: {"description": reason, **_json({"$ref": "#/components/schemas/Error"})}}


def _refusals() -> _Schema:
    reasons = {
        "400": "The request does not fit the model",
        "403": "The page that asks is not known to the server",
        "408": "The body did not arrive in time",
        "413": "The body is too large, or has too many rows",
        "415": "The body is of a type, or compressed in a way, that is not read",
        "503": "Too much is waiting: try again after Retry-After",
    }
    return {code: found for code, reason in reasons.items() for found in _refused(code, reason).values()}


def _object(**properties: _Schema) -> _Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


def _json(schema: _Schema) -> _Schema:
    return {"content": {"application/json": {"schema": schema}}}
