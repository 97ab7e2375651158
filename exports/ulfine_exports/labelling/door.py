"""Who may ask for the page: a browser of this machine that was given the token, from the page itself."""

import hmac
import secrets
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from ulfine_exports.serve.access.hosts import AllowedHosts
from ulfine_exports.serve.access.origins import from_another_page
from ulfine_exports.serve.refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_HARMLESS = ("GET", "HEAD")


def new_token() -> str:
    """A secret that nobody guesses: 256 bits."""
    return secrets.token_urlsafe(32)


class Door:
    """Middleware: refuses other names of this machine, other pages, and whoever does not have the token.

    The address that the command prints holds the token once; the answer puts it into a cookie that no script reads and
    no other page sends, and leads on to the address without it. Programs send ``Authorization: Bearer TOKEN``.

    Args:
        app: What is behind.
        token: From `new_token`.
        port: Where the server listens; cookies do not tell ports apart, so it is part of the cookie's name.
    """

    def __init__(self, app: "ASGIApp", token: str, port: int) -> None:
        self._app, self._token = app, token.encode()
        self._cookie = f"ulfine-label-{port}"
        self._hosts = AllowedHosts("127.0.0.1")

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response = self._answer(Request(scope))
        await (response or self._app)(scope, receive, send)

    def _answer(self, request: Request) -> Response | None:
        writes, given = request.method not in _HARMLESS, request.headers.getlist("host")
        if len(given) != 1 or not self._hosts.allow(given[0]):
            asked = ", ".join(given)
            return Refusal(
                421, f"this page is not to be asked for as {asked!r}: use its address", unread=writes
            ).response()
        if writes and (page := from_another_page(request.headers, ())):
            return Refusal(403, f"{page[:100]} is not this page", unread=True).response()
        if request.url.path == "/" and (offered := request.query_params.get("token")) is not None:
            if not self._is_right(offered):
                return self._refused(writes)
            response = Response(status_code=303, headers={"Location": "/", "Referrer-Policy": "no-referrer"})
            response.set_cookie(self._cookie, offered, httponly=True, samesite="strict", path="/")
            return response
        if self._is_right(request.cookies.get(self._cookie, "")) or self._is_right(_bearer(request.headers)):
            return None
        return self._refused(writes)

    def _is_right(self, offered: str) -> bool:
        # In a time that does not depend on how much of it is right.
        return hmac.compare_digest(offered.encode("latin-1", "replace"), self._token)

    def _refused(self, unread: bool) -> Response:
        reason = "this page opens by the address that `ulfine label` printed, which ends in a token"
        return Refusal(401, reason, unread=unread).response()


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
