"""The names under which a server lets itself be asked."""

import ipaddress
import re
from collections.abc import Sequence

from ulfine_cache.errors import UsageError

# RFC 9110, 7.2: a name or an address in brackets, and a port.
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?")
_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[?[0-9a-f:.]+\]?")


class AllowedHosts:
    """Which values of the header ``Host`` are answered.

    A page elsewhere can make its own name point here (DNS rebinding), and would then be of one origin with the server
    in the eyes of a browser. An address cannot be made to point elsewhere. So the names have to be known: where the
    server listens at a loopback address ``localhost``, what ends in ``.localhost``, and loopback addresses; elsewhere
    these and every address.

    Args:
        listening: The host that the server listens at.
        more: Further names: ``birds.example.org``, ``*.example.org``, or ``*`` for all.

    Raises:
        UsageError: One of them is no name.

    Example:
        >>> hosts = AllowedHosts("127.0.0.1", ["birds.example.org"])
        >>> [hosts.allow(host) for host in ("localhost:8000", "birds.example.org", "evil.example")]
        [True, True, False]
    """

    def __init__(self, listening: str, more: Sequence[str] = ()) -> None:
        names = [name.strip().lower().rstrip(".") for name in more]
        for name, given in zip(names, more, strict=True):
            if not _NAME.fullmatch(name):
                raise UsageError(
                    f"allowed_host={given!r} cannot be used: give a name without scheme and port, such as "
                    "birds.example.org, *.example.org or *"
                )
        address = _address(listening)
        self._every_address = address is not None and not _is_loopback(address)
        self._names = {name.strip("[]") for name in names if "*" not in name} | {"localhost", listening.lower()}
        self._endings = (".localhost", *(name[1:] for name in names if name.startswith("*.")))
        self._all = "*" in names
        if address is None and listening.lower() != "localhost":
            # A name of this machine, which people use as they were told.
            self._every_address = True

    def allow(self, header: str) -> bool:
        """Whether a request with this header ``Host`` is answered."""
        if self._all:
            return True
        found = _HOST.fullmatch(header.strip().lower())
        if found is None:
            return False
        name = found[1].strip("[]").removesuffix(".")
        address = _address(name)
        if address is not None and (self._every_address or _is_loopback(address)):
            return True
        return name in self._names or (address is None and name.endswith(self._endings))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def _is_loopback(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
