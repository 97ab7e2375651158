"""JPEG XL: the size that a file claims, because its decoder takes the memory before anybody can ask.

ISO/IEC 18181-1, annex D (SizeHeader), and 18181-2 for the boxes around it.
"""

from typing import Final

from ulfine_cache.pictures.structure.boxes import boxes

_MARK: Final = b"\xff\x0a"
_HEADER_BYTES: Final = 16
_BITS: Final = (9, 13, 18, 30)
# Width to height, by the number that stands for it; 0 says that the width follows.
_RATIOS: Final = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}


def jpegxl_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG XL file in pixels, None where its header is damaged.

    Example:
        >>> jpegxl_size(bytes.fromhex("ff0a314124080401"))
        (300, 200)
    """
    begin = _codestream(data)
    if not begin.startswith(_MARK) or len(begin) < 4:
        return None
    bits = _Bits(begin[2:])
    in_eighths = bits.take(1)
    height = _length(bits, in_eighths)
    ratio = bits.take(3)
    if not ratio:
        return _length(bits, in_eighths), height
    wide, high = _RATIOS[ratio]
    return height * wide // high, height


class _Bits:
    """Numbers of so many bits, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        number = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return number


def _length(bits: _Bits, in_eighths: int) -> int:
    return 8 * (1 + bits.take(5)) if in_eighths else 1 + bits.take(_BITS[bits.take(2)])


def _codestream(data: bytes) -> bytes:
    """Return the first bytes of the codestream: the file's own, or those in the boxes jxlc or jxlp."""
    if data.startswith(_MARK):
        return data[:_HEADER_BYTES]
    begin = b""
    for kind, start, end in boxes(data):
        if kind == b"jxlc":
            return data[start : min(end, start + _HEADER_BYTES)]
        if kind == b"jxlp":
            # A part begins with its number.
            begin += data[start + 4 : min(end, start + 4 + _HEADER_BYTES)]
            if len(begin) >= _HEADER_BYTES:
                break
    return begin
