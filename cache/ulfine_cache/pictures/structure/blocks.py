"""PNG, GIF and PNM: bounds on the pieces that Pillow reads one by one, in Python."""

import re
import struct
from typing import Final

MAX_CHUNKS: Final = 2**16
"""Most chunks of a PNG: 10 us each. Pictures of 100 million pixels have up to 40,000 of 8 kB."""

MAX_BLOCKS: Final = 2**14
"""Most blocks before the picture of a GIF, of 255 bytes or less: 4 MB of comments and metadata."""

MAX_TEXT: Final = 2**21
"""Largest PNM whose pixels are written as text, in bytes: Pillow reads about a megabyte a second."""

MAX_SCALED: Final = 2**23
"""Largest PNM whose largest value is not that of its bytes, in bytes: Pillow scales a megabyte a second, in Python."""

MAX_HEADER: Final = 2**12
"""Largest header of a PNM, comments included, in bytes."""

_CHUNK = struct.Struct(">I4s")


def check_png(data: bytes) -> str:
    """See `ulfine_cache.pictures.structure.check.objection`."""
    position = 8
    for _ in range(MAX_CHUNKS):
        if position + _CHUNK.size > len(data):
            return ""
        length, kind = _CHUNK.unpack_from(data, position)
        if kind == b"IEND":
            return ""
        position += 12 + length
    return f"too many chunks (over {MAX_CHUNKS})"


def check_gif(data: bytes) -> str:
    """See `ulfine_cache.pictures.structure.check.objection`."""
    # Signature and screen, and the colours that its flags announce (GIF89a, 18).
    position = 13 + (3 << (data[10] % 8 + 1) if len(data) > 12 and data[10] & 0x80 else 0)
    blocks = 0
    while position + 1 < len(data) and data[position] != 0x2C:
        # What is no extension Pillow skips byte by byte.
        extension = data[position] == 0x21
        position += 2 if extension else 1
        blocks += 1
        while extension and position < len(data) and data[position]:
            position += 1 + data[position]
            blocks += 1
            if blocks > MAX_BLOCKS:
                break
        position += extension
        if blocks > MAX_BLOCKS:
            return f"too many blocks (over {MAX_BLOCKS})"
    return ""


def check_pnm(data: bytes) -> str:
    """See `ulfine_cache.pictures.structure.check.objection`."""
    plain = data[1:2] in b"123"
    if plain and len(data) > MAX_TEXT:
        return f"too much text: pixels as text are read up to {MAX_TEXT // 2**20} MB"
    header = re.sub(rb"#[^\r\n]*", b"", data[:MAX_HEADER]).split(maxsplit=4)
    wanted = 3 if data[1:2] in b"14" else 4
    scaled = data[1:2] in b"56" and header[3:4] != [b"255"] and (data[1:2], header[3:4]) != (b"5", [b"65535"])
    if scaled and len(data) > MAX_SCALED:
        return f"too many values to scale: a largest value other than 255 is read up to {MAX_SCALED // 2**20} MB"
    # The last number has to be over, too: a byte stands behind it.
    return "too long a header" if len(data) > MAX_HEADER and len(header) <= wanted else ""
