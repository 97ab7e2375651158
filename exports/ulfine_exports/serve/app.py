"""The ASGI application: all routes of one service."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ulfine_exports.serve.metrics import CONTENT_TYPE
from ulfine_exports.serve.routes.answering import answered
from ulfine_exports.serve.routes.classify_route import classify_route
from ulfine_exports.serve.routes.inference_routes import inference_routes
from ulfine_exports.serve.routes.openapi import openapi
from ulfine_exports.serve.routes.page_routes import page_routes
from ulfine_exports.serve.service import Service


def build_app(service: Service, report: Callable[[str], None] = lambda line: None) -> Starlette:
    """The application; it starts the service when its lifespan begins and stops it when that ends.

    Args:
        service: What answers.
        report: Told in one line about each error of the server's own.

    Example:
        >>> from ulfine_exports.serve.served_model import ServedModel
        >>> from ulfine_exports.serve.service import Limits
        >>> app = build_app(Service(ServedModel(Path("model.onnx")), Limits(32, 0.005, 1024, 2**26, 30.0)))
        >>> sorted(route.path for route in app.routes)[:2]
        ['/', '/classify']
    """
    document = openapi(service)

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

    return Starlette(
        routes=[
            *inference_routes(service),
            classify_route(service),
            answered(service, "/metrics", "GET", "metrics", metrics),
            answered(service, "/openapi.json", "GET", "metadata", described),
            *page_routes(service),
        ],
        exception_handlers={HTTPException: refused, Exception: failed},
        lifespan=lifespan,
    )
