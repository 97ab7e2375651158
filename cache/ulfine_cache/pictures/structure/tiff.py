"""TIFF: a bound on strips, tiles and other lists of numbers, which Pillow makes Python objects of.

TIFF 6.0, section 2, and for files over 4 GB the same with wider fields (BigTIFF).
"""

import struct
from typing import Final

MAX_STRIPS: Final = 200_000
"""Most numbers under one tag, each 5 us. The colours of a 16-bit palette are 196,608; a picture of 50 million pixels in
strips of one row has up to 20,000 for each colour."""

_BYTES: Final = (1, 2, 6, 7)
"""Types that stay bytes however many they are: BYTE, ASCII, SBYTE, UNDEFINED."""


def check_tiff(data: bytes) -> str:
    """See `ulfine_cache.pictures.structure.check.objection`."""
    order = "<" if data[:2] == b"II" else ">"
    wide = data[2:4] in (b"\x2b\x00", b"\x00\x2b")
    head, count, entry = ("Q", "Q", "HHQ8x") if wide else ("I", "H", "HHI4x")
    try:
        (place,) = struct.unpack_from(order + head, data, 8 if wide else 4)
        (entries,) = struct.unpack_from(order + count, data, place)
        if entries > MAX_STRIPS:
            return "too many tags"
        place += struct.calcsize(order + count)
        for number in range(entries):
            tag, kind, length = struct.unpack_from(order + entry, data, place + number * struct.calcsize(order + entry))
            if kind not in _BYTES and length > MAX_STRIPS:
                return f"too many strips or numbers under tag {tag} ({length})"
    except (struct.error, OverflowError):
        # Cut off: the decoder says so.
        return ""
    return ""
