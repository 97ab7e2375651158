"""What stands before all routes: names, pages, keys, and where a proxy has put the server."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import Response

from ulfine_exports.serve.access.api_keys import ApiKeys
from ulfine_exports.serve.access.hosts import AllowedHosts
from ulfine_exports.serve.access.origins import checked_origins, from_another_page
from ulfine_exports.serve.json_response import JSONResponse
from ulfine_exports.serve.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

_HARMLESS = ("GET", "HEAD", "OPTIONS")
_OPEN = ("/", "/page.css", "/page.js", "/v2/health/live", "/v2/health/ready")
"""What needs no key: the page, which asks for one, and what a probe asks."""


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: Names of the server.
        origins: Pages of others.
        keys: None where nobody needs one.
        root: Where a proxy has put the server, such as ``/birds``; ``""``: nowhere else.
    """

    hosts: AllowedHosts = field(default_factory=lambda: AllowedHosts("127.0.0.1"))
    origins: tuple[str, ...] = ()
    keys: ApiKeys | None = None
    root: str = ""

    @classmethod
    def of(
        cls,
        host: str,
        allowed_hosts: "Sequence[str]" = (),
        cors_origins: "Sequence[str]" = (),
        api_key_file: Path | None = None,
        root_path: str = "",
    ) -> "Access":
        """What the command line says.

        Raises:
            UsageError: A name or an origin is none.
            UlfineError: The file of keys cannot be used.
        """
        return cls(
            AllowedHosts(host, allowed_hosts),
            checked_origins(cors_origins),
            None if api_key_file is None else ApiKeys(api_key_file),
            "/" + root_path.strip("/") if root_path.strip("/") else "",
        )


class Names:
    """Middleware: refuses names of the server that are not known, and puts every path where the routes expect it.

    It stands outside the middleware for CORS, `Keys` inside.

    Args:
        app: What is behind.
        access: Who may ask.
        refused: Told the status of each refusal.
    """

    def __init__(self, app: "ASGIApp", access: Access, refused: "Callable[[int], None]") -> None:
        self._app = app
        self._access = access
        self._refused = refused

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).getlist("host")
        # A program of the time before that header may leave it out, no browser does.
        nameless = not given and scope["http_version"] == "1.0"
        if not nameless and (len(given) != 1 or not self._access.hosts.allow(given[0])):
            refusal = Refusal(
                421,
                f"this server is not to be asked as {', '.join(given)!r}: use its address, or start it with "
                "--allowed-host NAME",
                unread=scope["method"] not in _HARMLESS,
            )
            self._refused(refusal.status)
            await refusal.response()(scope, receive, send)
            return
        root, path = self._access.root, scope["path"]
        elsewhere = _better_place(scope, root)
        if elsewhere is not None:
            await elsewhere(scope, receive, send)
            return
        # A proxy may take the root off, or leave it.
        inside = path.removeprefix(root) if path.startswith(f"{root}/") else path
        await self._app({**scope, "path": inside}, receive, send)


class Keys:
    """Middleware: refuses what another page sends, and whoever has no key where one is needed.

    Args:
        app: What is behind.
        access: Who may ask.
        refused: Told the status of each refusal.
    """

    def __init__(self, app: "ASGIApp", access: Access, refused: "Callable[[int], None]") -> None:
        self._app = app
        self._access = access
        self._refused = refused

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer, or hand on."""
        if scope["type"] == "http" and (response := self._refusal(scope)) is not None:
            self._refused(response.status_code)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: "Scope") -> Response | None:
        headers, unread = Headers(scope=scope), scope["method"] not in _HARMLESS
        if unread and (page := from_another_page(headers, self._access.origins)):
            reason = f"{page[:100]} is not a page of this server: start it with --cors-origin ORIGIN to let it ask"
            return Refusal(403, reason, unread=True).response()
        keys = self._access.keys
        if keys is None or scope["path"] in _OPEN or keys.allow(headers.get("authorization", "")):
            return None
        response = Refusal(401, "this server wants a key: send the header Authorization: Bearer KEY", unread=unread)
        answer = response.response()
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer


def _better_place(scope: "Scope", root: str) -> Response | None:
    """The way to a path without its last slash, and from the root to its page; relative, for a proxy's names differ."""
    path, raw = scope["path"], scope.get("raw_path", b"").decode("latin-1")
    if root and path == root:
        place = f"{raw.rsplit('/', 1)[-1]}/"
    elif path not in ("/", f"{root}/") and raw.endswith("/") and not raw.endswith("//"):
        place = f"../{raw[:-1].rsplit('/', 1)[-1]}"
    else:
        return None
    query = scope["query_string"].decode("latin-1")
    return JSONResponse({"error": f"it is at {place}"}, 307, {"Location": f"{place}?{query}" if query else place})
