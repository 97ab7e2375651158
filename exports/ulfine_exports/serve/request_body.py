"""Reads what a client sends, as much and as long as is allowed."""

import asyncio
import contextlib
import zlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from ulfine_exports.serve.refusal import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

    from ulfine_exports.serve.bounds.byte_budget import ByteBudget

_PIECE = 2**20
"""Bytes that are decompressed at a time."""


@contextlib.asynccontextmanager
async def body_of(request: "Request", *, limit: int, seconds: float, budget: "ByteBudget") -> AsyncGenerator[bytearray]:
    """Read the body of a request, and hold its bytes in the budget while it is used.

    Args:
        request: Whose body is read.
        limit: Largest size in bytes.
        seconds: Longest time that the client may take to send it.
        budget: What all requests share.

    Returns:
        The body; gzip and deflate are undone, and may not grow beyond `limit` either.

    Raises:
        Refusal: Of another encoding (415), damaged (400), too large (413), too slow (408), or no room now (503).
        starlette.requests.ClientDisconnect: The client has gone.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity", "gzip", "deflate"):
        raise Refusal(415, f"Content-Encoding {encoding} is not read: use gzip, deflate or none", unread=True)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    held = 0
    try:
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > limit:
                        raise _too_large(limit)
                    # Counted as it comes, not as declared: a promise of bytes takes no memory.
                    budget.take(len(chunk))
                    held += len(chunk)
                    body += chunk
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {seconds:g} s", unread=True) from None
        if encoding in ("gzip", "deflate"):
            # As much as it may grow to, for nobody knows before.
            budget.take(limit)
            held += limit
            body = await asyncio.to_thread(_decompressed, body, limit)
            budget.give_back(held - len(body))
            held = len(body)
        yield body
    finally:
        # Whoever still knows the body, such as an error that was raised, does not keep its bytes.
        with contextlib.suppress(BufferError):
            body.clear()
        budget.give_back(held)


def _decompressed(body: bytearray, limit: int) -> bytearray:
    # 32 lets zlib tell gzip and zlib apart; HTTP's deflate is zlib.
    stream = zlib.decompressobj(32 + zlib.MAX_WBITS)
    plain = bytearray()
    try:
        # In pieces: at once, all of it would be in memory twice.
        for start in range(0, len(body), _PIECE):
            piece = bytes(body[start : start + _PIECE])
            while piece and not stream.eof:
                plain += stream.decompress(piece, _PIECE)
                piece = stream.unconsumed_tail
                if len(plain) > limit:
                    raise _too_large(limit, unread=False)
        plain += stream.flush()
    except zlib.error as error:
        raise Refusal(400, f"the body cannot be decompressed: {error}") from None
    if len(plain) > limit:
        raise _too_large(limit, unread=False)
    if not stream.eof:
        raise Refusal(400, "the body cannot be decompressed: it is cut off")
    return plain


def _too_large(limit: int, *, unread: bool = True) -> Refusal:
    reason = f"the body is over {limit / 2**20:g} MB: send less at a time, or raise --max-body-mb"
    return Refusal(413, reason, unread=unread)
