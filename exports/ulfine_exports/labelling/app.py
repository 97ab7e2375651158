"""The page's application: one page, its data, its pictures; everything behind `Door`."""

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from ulfine_cache.errors import UlfineError
from ulfine_exports.labelling.desk import PAGE, Desk
from ulfine_exports.labelling.door import Door
from ulfine_exports.labelling.pictures import SIZES
from ulfine_exports.pages.render import render
from ulfine_exports.serve.json_response import JSONResponse
from ulfine_exports.serve.refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MAX_BODY = 2**20
"""Bytes of a decision."""

MAX_PICTURE = 2**26
"""Bytes of a picture to look for the likes of."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_OF_THE_PAGE = {"Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
_OF_DATA = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox"}


def build_app(desk: Desk, token: str, port: int, report: Callable[[str], None] = lambda line: None) -> "ASGIApp":
    """The application.

    Args:
        desk: What it shows and changes.
        token: What lets a browser in.
        port: Where the server listens.
        report: Told in one line about each error of the application's own.
    """
    page = render(
        "label.html",
        title="Label",
        styles=["label.css"],
        scripts=["label.js"],
        served=True,
        cache=str(desk.cache.path),
        file=str(desk.now.journal.path),
    )

    async def home(request: Request) -> Response:
        return HTMLResponse(page, headers=_HEADERS | _OF_THE_PAGE)

    async def state(request: Request) -> Any:
        return await run_in_threadpool(desk.state)

    async def rows(request: Request) -> Any:
        asked = request.query_params
        after, limit = _number(asked.get("after", "0")), _number(asked.get("limit", str(PAGE)))
        return await run_in_threadpool(desk.rows, asked.get("queue", ""), asked.get("about", ""), after, limit)

    async def decide(request: Request) -> Any:
        body = await _body(request)
        wanted, label = body.get("rows"), body.get("label")
        if not isinstance(label, str) or not isinstance(wanted, list):
            raise Refusal(400, 'a decision is {"rows": [numbers], "label": "name, empty for none"}')
        if not all(type(row) is int for row in wanted):
            raise Refusal(400, "rows are whole numbers")
        return await run_in_threadpool(desk.decide, wanted, label)

    async def like(request: Request) -> Any:
        content = await _content(request, "application/octet-stream", MAX_PICTURE)
        return await run_in_threadpool(desk.like_picture, bytes(content))

    async def undo(request: Request) -> Any:
        await _body(request)
        return await run_in_threadpool(desk.undo)

    async def refit(request: Request) -> Any:
        await _body(request)
        return {"started": await run_in_threadpool(desk.start_refit)}

    async def picture(request: Request) -> Response:
        row, size = request.path_params["row"], request.path_params["size"]
        if row >= desk.cache.n_rows or size not in SIZES:
            raise Refusal(404, "no such picture")
        content, kind = await run_in_threadpool(desk.pictures.of, row, size)
        headers = _HEADERS | _OF_DATA | {"Cache-Control": "private, max-age=3600"}
        return Response(content, media_type=kind, headers=headers)

    def answered(call: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            try:
                found = await call(request)
            except Refusal as error:
                return error.response()
            except UlfineError as error:
                return JSONResponse({"error": str(error)}, 400, _HEADERS | _OF_DATA)
            if isinstance(found, Response):
                return found
            return JSONResponse(found, headers=_HEADERS | _OF_DATA)

        return answer

    async def failed(request: Request, error: Exception) -> Response:
        report(f"{request.method} {request.url.path} failed: {type(error).__name__}: {error}")
        return JSONResponse({"error": f"the page failed ({type(error).__name__})"}, 500)

    routes = [
        Route("/", home),
        Route("/state", answered(state)),
        Route("/rows", answered(rows)),
        Route("/pictures/{row:int}/{size}", answered(picture)),
        *(Route(f"/{call.__name__}", answered(call), methods=["POST"]) for call in (decide, like, undo, refit)),
    ]
    return Door(Starlette(routes=routes, exception_handlers={Exception: failed}), token, port)


async def _content(request: Request, kind: str, most: int) -> bytearray:
    # What a form of another page can send without asking is of another type.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != kind:
        raise Refusal(415, f"send {kind}", unread=True)
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > most:
            raise Refusal(413, f"at most {most >> 20} MB are read", unread=True)
    return content


async def _body(request: Request) -> dict[str, Any]:
    content = await _content(request, "application/json", MAX_BODY)
    try:
        body = json.loads(content or b"{}")
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is no JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "the body is a JSON object")
    return body


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise Refusal(400, "after and limit are whole numbers")
    return int(text)
