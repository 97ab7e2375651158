"""The web pages from which a server lets itself be asked."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers

from ulfine_cache.errors import UsageError

_ORIGIN = re.compile(r"\*|https?://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:\d{1,5})?")
_PORTS = {"http": ":80", "https": ":443"}


def checked_origins(origins: Sequence[str]) -> tuple[str, ...]:
    """Origins as browsers write them.

    Raises:
        UsageError: One is none.

    Example:
        >>> checked_origins(["https://Birds.example.org/"])
        ('https://birds.example.org',)
    """
    written = tuple(origin.strip().lower().removesuffix("/") for origin in origins)
    for origin, given in zip(written, origins, strict=True):
        if not _ORIGIN.fullmatch(origin):
            raise UsageError(
                f"cors_origin={given!r} cannot be used: give a scheme and a host, such as https://birds.example.org, "
                "or * for all pages"
            )
    return written


def from_another_page(headers: Headers, origins: Sequence[str]) -> str:
    """The page that a browser asks for, where it is neither the server's own nor one of `origins`; else ``""``.

    Every browser says with a POST where the page comes from (``Origin``), and newer ones how that is related to the
    server (``Sec-Fetch-Site``), also where a proxy has changed ``Host``. Programs say neither.

    Args:
        headers: Of a request that may change something or costs something.
        origins: As of `checked_origins`.
    """
    origin, site = headers.get("origin", "").lower(), headers.get("sec-fetch-site", "").lower()
    if "*" in origins or (origin and origin in origins):
        return ""
    if site in ("same-origin", "none"):
        return ""
    if not origin:
        return "another page" if site else ""
    scheme, _, place = origin.partition("://")
    if place and place.removesuffix(_PORTS.get(scheme, "-")) == _without_port(headers.get("host", ""), scheme):
        # What says that it is of another origin of the same host is believed.
        return "" if not site else origin
    return origin


def _without_port(host: str, scheme: str) -> str:
    return host.strip().lower().removesuffix(_PORTS.get(scheme, "-"))
