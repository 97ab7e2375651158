"""``/``: a page on which people drop pictures; and what it needs to know about the model."""

import re
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from ulfine_exports.pages.picture_page import page_file
from ulfine_exports.serve.json_response import JSONResponse
from ulfine_exports.serve.routes.answering import answered
from ulfine_exports.serve.service import Service

_SERVER = Path(__file__).parent.parent / "page" / "server.js"
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}

_HEADERS = {
    # Nothing from anywhere else, and nothing written into the page by a name of a class or a file.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_routes(service: Service) -> list[BaseRoute]:
    """The page's files, and ``/model``."""
    model = service.model
    metadata = model.metadata
    about = {
        "name": model.name,
        "input": metadata.input,
        "classes": list(model.class_names),
        "method": metadata.method,
        # A checkpoint's file, without the folder that it had on the machine that exported.
        "encoder": " ".join(part for part in (metadata.model, re.split(r"[/\\\\]", metadata.pretrained)[-1]) if part),
        "precision": metadata.precision,
        "test_prior": metadata.test_prior,
        "device": model.device,
        "parts": list(model.parts),
        "ulfine_version": metadata.ulfine_version,
    }

    def file(name: str, kind: str) -> Response:
        text = page_file(name)
        if kind == "text/javascript":
            text += _SERVER.read_text("utf-8")
        return Response(text, headers=_HEADERS, media_type=kind)

    async def page(request: Request) -> Response:
        return file(*_FILES[request.scope["path"]])

    async def described(request: Request) -> Response:
        return JSONResponse(about)

    return [
        *(answered(service, path, "GET", "page", page) for path in _FILES),
        answered(service, "/model", "GET", "metadata", described),
    ]
