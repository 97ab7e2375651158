"""From a handler to a route: refusals become answers, and every answer is counted."""

import time
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ulfine_exports.serve.refusal import Refusal
from ulfine_exports.serve.service import Service

_CLIENT_GONE = 499
"""What logs and metrics call a client that did not wait for its answer; nobody receives it."""


def answered(
    service: Service, path: str, method: str, where: str, handle: Callable[[Request], Awaitable[Response]]
) -> BaseRoute:
    """A route that answers what `handle` gives, or the `Refusal` that it raises.

    Args:
        service: Whose metrics count.
        path: Of the route, in Starlette's notation.
        method: ``"GET"`` or ``"POST"``.
        where: What the metrics call it.
        handle: Maps the request to a response.
    """

    async def endpoint(request: Request) -> Response:
        began = time.perf_counter()
        code = 500
        try:
            response = await handle(request)
            code = response.status_code
            return response
        except Refusal as refusal:
            code = refusal.status
            return refusal.response()
        except ClientDisconnect:
            code = _CLIENT_GONE
            return Response(status_code=code)
        finally:
            service.metrics.request(where, code, time.perf_counter() - began)

    return Route(path, endpoint, methods=[method], name=f"{method} {path}")
