"""The ASGI application: all routes of one service."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from ulfine_exports.serve.access.guard import Access, Keys, Names
from ulfine_exports.serve.json_response import JSONResponse
from ulfine_exports.serve.metrics import CONTENT_TYPE
from ulfine_exports.serve.routes.answering import answered
from ulfine_exports.serve.routes.classify_route import classify_route
from ulfine_exports.serve.routes.inference_response import JSON_LENGTH
from ulfine_exports.serve.routes.inference_routes import inference_routes
from ulfine_exports.serve.routes.openapi import openapi
from ulfine_exports.serve.routes.page_routes import page_routes
from ulfine_exports.serve.routes.state_routes import state_routes
from ulfine_exports.serve.service import Service

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def build_app(
    service: Service, report: Callable[[str], None] = lambda line: None, access: Access | None = None
) -> "ASGIApp":
    """The application; it starts the service when its lifespan begins and stops it when that ends.

    Args:
        service: What answers.
        report: Told in one line about each error of the server's own.
        access: Who may ask; None: whoever asks at a loopback address.

    Example:
        >>> from ulfine_exports.serve.served_model import ServedModel
        >>> from ulfine_exports.serve.service import Limits
        >>> service = Service(ServedModel(Path("model.onnx")), Limits(32, 0.005, 1024, 2**26, 30.0))
        >>> callable(build_app(service))
        True
    """
    access = access or Access()
    document = openapi(service, access)

    async def metrics(request: Request) -> Response:
        return Response(service.metrics_text(), media_type=CONTENT_TYPE)

    async def described(request: Request) -> Response:
        return JSONResponse(document)

    async def refused(request: Request, error: Exception) -> Response:
        # Starlette's own: no such route, or no such method.
        code = error.status_code if isinstance(error, HTTPException) else 500
        headers = getattr(error, "headers", None)
        service.metrics.request("elsewhere", code, 0.0)
        reason = f"{request.method} {request.url.path}: {HTTPStatus(code).phrase.lower()}"
        return JSONResponse({"error": f"{reason}; /openapi.json lists what there is"}, code, headers)

    async def failed(request: Request, error: Exception) -> Response:
        report(f"{request.method} {request.url.path} failed: {type(error).__name__}: {error}")
        return JSONResponse({"error": f"the server failed ({type(error).__name__})"}, 500)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    def turned_away(status: int) -> None:
        service.metrics.request("elsewhere", status, 0.0)

    routes = Starlette(
        routes=[
            *state_routes(service),
            *inference_routes(service),
            classify_route(service),
            answered(service, "/metrics", "GET", "metrics", metrics),
            answered(service, "/openapi.json", "GET", "metadata", described),
            *page_routes(service),
        ],
        exception_handlers={HTTPException: refused, Exception: failed},
        lifespan=lifespan,
    )
    # Relative ones come from `Names`: here they would name the scheme and host that a proxy asks by.
    routes.router.redirect_slashes = False
    inner: ASGIApp = Keys(routes, access, turned_away)
    if access.origins:
        inner = CORSMiddleware(
            inner,
            allow_origins=access.origins,
            allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Encoding", "Content-Type", JSON_LENGTH),
            expose_headers=(JSON_LENGTH,),
        )
    return Names(inner, access, turned_away)
