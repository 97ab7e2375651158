"""The server's interface as an OpenAPI document."""

from typing import Any

from ulfine_exports.serve.routes.classify_route import MAX_IMAGES
from ulfine_exports.serve.routes.inference_response import JSON_LENGTH, VERSION
from ulfine_exports.serve.served_model import Tensor
from ulfine_exports.serve.service import Service

_Schema = dict[str, Any]

_TEXT: _Schema = {"type": "string"}
_BINARY: _Schema = {"type": "string", "format": "binary"}


def openapi(service: Service) -> _Schema:
    """OpenAPI 3.1 of this very server: the model's name, its input and its outputs are in it."""
    from ulfine_fast.version import __version__

    name = service.model.name
    paths: _Schema = {
        "/v2": {"get": _get("What this server is", _object(name=_TEXT, version=_TEXT, extensions=_list(_TEXT)))},
        "/v2/health/live": {"get": _get("Whether the process answers", _object(live={"const": True}))},
        "/v2/health/ready": {"get": _get("Whether requests will be answered", _ready(), refusing=True)},
        "/model": {"get": _get("What the exported file says about itself", {"type": "object"})},
        "/classify": {"post": _classify(service)},
        "/metrics": {"get": _get("Counts for Prometheus", _TEXT, content="text/plain")},
        "/openapi.json": {"get": _get("This document", {"type": "object"})},
    }
    for place in (f"/v2/models/{name}", f"/v2/models/{name}/versions/{VERSION}"):
        paths[place] = {"get": _get("The model's inputs and outputs", _metadata(service))}
        paths[f"{place}/ready"] = {"get": _get("Whether the model will answer", _ready(), refusing=True)}
        paths[f"{place}/infer"] = {"post": _infer(service)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"ulfine serve: {name}",
            "version": __version__,
            "description": "Open Inference Protocol v2 with binary tensors, and POST /classify for image files.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _object(error=_TEXT)}},
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
        "properties": {"image": {**_list(_BINARY), "maxItems": MAX_IMAGES}},
        "required": ["image"],
    }
    return {
        "summary": "Classify image files",
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
            "content": {"multipart/form-data": {"schema": form}, "application/octet-stream": {"schema": _BINARY}},
        },
        "responses": {"200": {"description": "One entry for each image", **_json(answer)}, **_refusals()},
    }


def _infer(service: Service) -> _Schema:
    tensor = service.model.input
    numbers = {"type": "integer", "minimum": 0, "maximum": 255} if tensor.datatype == "UINT8" else {"type": "number"}
    item = _object(
        name={"const": tensor.name},
        shape={
            **_list({"type": "integer", "minimum": 0}),
            "minItems": len(tensor.shape),
            "maxItems": len(tensor.shape),
        },
        datatype={"const": tensor.datatype},
        data={"type": "array", "items": {"anyOf": [numbers, {"type": "array"}]}},
    )
    output = _object(name={"enum": [tensor.name for tensor in service.model.outputs]})
    request = {
        "type": "object",
        "properties": {
            "id": _TEXT,
            "parameters": {"type": "object", "properties": {"binary_data_output": {"type": "boolean"}}},
            "inputs": {**_list(item), "minItems": 1, "maxItems": 1},
            "outputs": _list(output),
        },
        "required": ["inputs"],
    }
    answered = _object(name=_TEXT, datatype={"enum": ["FP32", "BYTES"]}, shape=_list({"type": "integer"}))
    answer = _object(model_name={"const": service.model.name}, model_version=_TEXT, outputs=_list(answered))
    return {
        "summary": "Run the model on tensors",
        "parameters": [
            {
                "name": JSON_LENGTH,
                "in": "header",
                "required": False,
                "description": "With binary tensors: how many bytes of the body are JSON",
                "schema": {"type": "integer", "minimum": 0},
            }
        ],
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


def _refusals() -> _Schema:
    reasons = {
        "400": "The request does not fit the model",
        "408": "The body did not arrive in time",
        "413": "The body is too large, or has too many rows",
        "415": "The body is compressed in a way that is not read",
        "503": "Too much is waiting: try again after Retry-After",
    }
    error = _json({"$ref": "#/components/schemas/Error"})
    return {code: {"description": reason, **error} for code, reason in reasons.items()}


def _object(**properties: _Schema) -> _Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: _Schema) -> _Schema:
    return {"type": "array", "items": items}


def _json(schema: _Schema) -> _Schema:
    return {"content": {"application/json": {"schema": schema}}}
