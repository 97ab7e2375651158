"""The address that a server listens at."""

import socket

from ulfine_cache.errors import UlfineError


def listen(host: str, port: int) -> socket.socket:
    """Give a socket that has the address, and does not accept anything yet.

    Args:
        host: A name or an address.
        port: 0 takes a free one.

    Raises:
        UlfineError: The address is taken or none.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UlfineError(f"cannot listen at {host} port {port} ({reason.lower()}): choose another") from error
    return listener
