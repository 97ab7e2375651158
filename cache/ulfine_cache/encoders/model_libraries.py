"""How open_clip, timm and the hub are called here: quietly, without waiting, with their errors in one line."""

import difflib
import logging
import socket
import urllib.request
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import urlsplit


@contextmanager
def without_waiting(*, needed: bool = True) -> Generator[None]:
    """Let the hub's client fail at once inside the body if there is no network.

    Left alone it tries again for most of a minute. What was downloaded before is found in its cache either way.

    Args:
        needed: Whether anything of the hub is wanted at all. Where nothing is, not even its address is asked for.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not needed or not _has_address(constants.ENDPOINT)
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


@contextmanager
def quiet() -> Generator[None]:
    """Keep the log lines and warnings of open_clip and timm to themselves: what matters is said in errors and notes."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def nearest(name: str, names: list[str]) -> str:
    """Say which of some names were perhaps meant, or which there are."""
    lower = {known.lower(): known for known in names}
    close = [lower[match] for match in difflib.get_close_matches(name.lower(), list(lower), n=5, cutoff=0.5)]
    if close:
        return f"did you mean {', '.join(close)}?"
    return f"there are {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}" if names else "it has no tags"


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
