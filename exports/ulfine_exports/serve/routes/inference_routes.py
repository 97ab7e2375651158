"""The routes of the Open Inference Protocol v2 over HTTP."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from ulfine_exports.serve.refusal import Refusal
from ulfine_exports.serve.request_body import body_of
from ulfine_exports.serve.routes.answering import answered
from ulfine_exports.serve.routes.inference_request import read_inference_request
from ulfine_exports.serve.routes.inference_response import JSON_LENGTH, VERSION, write_inference_response
from ulfine_exports.serve.served_model import Tensor
from ulfine_exports.serve.service import Service

_LARGE = 2**20
"""Bodies over this many bytes are parsed beside the event loop, which has other clients."""


def inference_routes(service: Service) -> list[BaseRoute]:
    """Health, metadata and inference."""
    model = service.model

    def check_model(request: Request) -> None:
        name, version = request.path_params["model"], request.path_params.get("version", VERSION)
        if name != model.name:
            raise Refusal(404, f"there is no model {name!r}: this server has {model.name!r}")
        if version != VERSION:
            raise Refusal(404, f"there is no version {version!r} of {name!r}: this server has {VERSION!r}")

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    async def server(request: Request) -> Response:
        from ulfine_fast.version import __version__

        extensions = ["binary_tensor_data", "classification"]
        return JSONResponse({"name": "ulfine", "version": __version__, "extensions": extensions})

    async def metadata(request: Request) -> Response:
        check_model(request)
        return JSONResponse(
            {
                "name": model.name,
                "versions": [VERSION],
                "platform": "onnxruntime_onnx",
                "inputs": [_described(model.input)],
                "outputs": [_described(tensor) for tensor in model.outputs],
            }
        )

    async def model_ready(request: Request) -> Response:
        check_model(request)
        answer = {"name": model.name, "ready": service.ready}
        return JSONResponse(answer, 200 if service.ready else 503)

    async def infer(request: Request) -> Response:
        check_model(request)
        length = _json_length(request)
        limits = service.limits
        async with body_of(request, limit=limits.max_body, seconds=limits.seconds, budget=service.bodies) as body:
            arguments = (body, length, model, service.max_rows)
            if len(body) > _LARGE:
                wanted = await asyncio.to_thread(read_inference_request, *arguments)
            else:
                wanted = read_inference_request(*arguments)
            outputs = await service.unless_gone(request, service.rows(wanted.rows))
            content, headers = write_inference_response(wanted, outputs, model)
        return Response(content, headers=headers)

    routes = [
        answered(service, "/v2", "GET", "metadata", server),
        answered(service, "/v2/health/live", "GET", "health", live),
        answered(service, "/v2/health/ready", "GET", "health", ready),
    ]
    for place in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        routes += [
            answered(service, place, "GET", "metadata", metadata),
            answered(service, f"{place}/ready", "GET", "health", model_ready),
            answered(service, f"{place}/infer", "POST", "infer", infer),
        ]
    return routes


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _json_length(request: Request) -> int | None:
    text = request.headers.get(JSON_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Refusal(400, f"{JSON_LENGTH} is {text!r}: it takes the number of bytes of the JSON")
    return int(text)
