"""The routes of the Open Inference Protocol v2 over HTTP."""

import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from ulfine_exports.serve.bounds.json_cost import check_json_cost
from ulfine_exports.serve.json_response import JSONResponse
from ulfine_exports.serve.pieces_response import Holding, PiecesResponse
from ulfine_exports.serve.refusal import Refusal
from ulfine_exports.serve.request_body import body_of
from ulfine_exports.serve.routes.answering import answered
from ulfine_exports.serve.routes.inference_request import parts_of, read_inference_request
from ulfine_exports.serve.routes.inference_response import (
    JSON_LENGTH,
    VERSION,
    answer_cost,
    write_inference_response,
)
from ulfine_exports.serve.routes.state_routes import PLATFORM
from ulfine_exports.serve.routes.the_model import MODEL_PLACES, check_model
from ulfine_exports.serve.served_model import Tensor
from ulfine_exports.serve.service import Service

_LARGE = 2**20
"""What is over this many bytes is read and written beside the event loop, which has other clients."""

_CONTENT_TYPES = ("application/json", "application/octet-stream")

_P = ParamSpec("_P")
_T = TypeVar("_T")


def inference_routes(service: Service) -> list[BaseRoute]:
    """Health, metadata and inference."""
    model = service.model

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    async def server(request: Request) -> Response:
        from ulfine_fast.version import __version__

        extensions = ["binary_tensor_data", "classification", "model_configuration", "statistics"]
        return JSONResponse({"name": "ulfine", "version": __version__, "extensions": extensions})

    async def metadata(request: Request) -> Response:
        check_model(request, model)
        return JSONResponse(
            {
                "name": model.name,
                "versions": [VERSION],
                "platform": PLATFORM,
                "inputs": [_described(model.input)],
                "outputs": [_described(tensor) for tensor in model.outputs],
            }
        )

    async def model_ready(request: Request) -> Response:
        check_model(request, model)
        answer = {"name": model.name, "ready": service.ready}
        return JSONResponse(answer, 200 if service.ready else 503)

    async def infer(request: Request) -> Response:
        check_model(request, model)
        _check_content_type(request)
        length = _json_length(request)
        limits = service.limits
        holding = Holding(service.answers)
        try:
            async with body_of(request, limit=limits.max_body, seconds=limits.seconds, budget=service.bodies) as body:
                pieces, headers = await service.unless_gone(request, answer(body, length, holding))
        except BaseException:
            holding.release()
            raise
        return PiecesResponse(pieces, headers, holding)

    async def answer(body: bytearray, length: int | None, holding: Holding) -> tuple[list[bytes], dict[str, str]]:
        began = time.perf_counter()
        text, binary = parts_of(body, length)
        async with service.parsing.room(await run(len(text), check_json_cost, text)):
            wanted = await run(len(text), read_inference_request, text, binary, model, service.max_rows)
        service.metrics.statistics.read(time.perf_counter() - began)
        cost = answer_cost(wanted, model)
        await holding.take(cost)
        # Binary rows are a view of the body.
        made = 0 if len(binary) else wanted.rows.nbytes
        service.bodies.take(made)
        try:
            outputs = await service.rows(wanted.rows)
        finally:
            service.bodies.give_back(made)
        began = time.perf_counter()
        answered = await run(cost, write_inference_response, wanted, outputs, model)
        service.metrics.statistics.written(time.perf_counter() - began)
        return answered

    async def run(size: int, work: Callable[_P, _T], *arguments: _P.args, **options: _P.kwargs) -> _T:
        return await service.beside(work, *arguments, **options) if size > _LARGE else work(*arguments, **options)

    routes = [
        answered(service, "/v2", "GET", "metadata", server),
        answered(service, "/v2/health/live", "GET", "health", live),
        answered(service, "/v2/health/ready", "GET", "health", ready),
    ]
    for place in MODEL_PLACES:
        routes += [
            answered(service, place, "GET", "metadata", metadata),
            answered(service, f"{place}/ready", "GET", "health", model_ready),
            answered(service, f"{place}/infer", "POST", "infer", infer),
        ]
    return routes


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _check_content_type(request: Request) -> None:
    """What a page elsewhere may send unasked, such as text/plain, is not read; programs may leave the header out."""
    found = request.headers.get("content-type")
    if found is not None and found.partition(";")[0].strip().lower() not in _CONTENT_TYPES:
        raise Refusal(
            415,
            f"Content-Type {found[:100]} is not read: send application/json or, with binary tensors, "
            "application/octet-stream",
            unread=True,
        )


def _json_length(request: Request) -> int | None:
    text = request.headers.get(JSON_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Refusal(400, f"{JSON_LENGTH} is {text!r}: it takes the number of bytes of the JSON")
    return int(text)
