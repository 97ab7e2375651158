"""Hugging Face's hub, where it cannot be reached."""

import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let the hub's client fail at once inside the body if there is no network.

    Left alone it tries again for most of a minute. What was downloaded before is found in its cache either way.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _has_address(constants.ENDPOINT)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _has_address(endpoint: str) -> bool:
    if urllib.request.getproxies():
        # The proxy asks for the address, this machine may have no name server.
        return True
    try:
        socket.getaddrinfo(urlsplit(endpoint).hostname, None)
    except OSError:
        return False
    return True
