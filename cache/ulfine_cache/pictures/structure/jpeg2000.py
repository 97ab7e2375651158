"""JPEG 2000: a bound on tiles, precincts and code blocks, for each of which OpenJPEG takes memory.

ISO/IEC 15444-1, annex A for the codestream and annex I for the boxes around it.
"""

from collections.abc import Iterator
from typing import Final

from ulfine_cache.pictures.structure.boxes import MAX_BOXES, boxes

MAX_BLOCKS: Final = 2**20
"""Most tiles, precincts and code blocks together: some hundred bytes each. 50 million pixels in blocks of 32 x 32 and
three colours have 200,000."""

_SIZ, _COD, _COC, _SOT, _SOD, _EOC = 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_PRECINCTS_GIVEN = 1


def check_jpeg2000(data: bytes) -> str:
    """See `ulfine_cache.pictures.structure.check.objection`."""
    if sum(1 for _ in boxes(data)) >= MAX_BOXES:
        return "too many boxes"
    size: tuple[int, int, int, int] | None = None
    components = tile_parts = 0
    for marker, body in _segments(data):
        if marker == _SIZ and len(body) >= 36:
            right, bottom, left, top, across, down = (
                int.from_bytes(body[place : place + 4], "big") for place in range(2, 26, 4)
            )
            size = (right - left, bottom - top, across, down)
            components = int.from_bytes(body[34:36], "big")
            if _parts(right, across) * _parts(bottom, down) * components > MAX_BLOCKS:
                return "too many tiles"
        elif marker == _SOT:
            tile_parts += 1
        elif marker in (_COD, _COC) and size is not None:
            # COC begins with the number of the component; both go on with the style (A.6.1, A.6.2).
            style = body if marker == _COD else body[1 if components < 257 else 2 :]
            coding = style[5:] if marker == _COD else style[1:]
            if len(coding) < 5:
                return ""
            given = coding[5:] if style[0] & _PRECINCTS_GIVEN else b""
            if components * _blocks(size, coding, given) > MAX_BLOCKS:
                return "too many code blocks"
        if tile_parts > MAX_BLOCKS // 16:
            return "too many tile parts"
    return ""


def jpeg2000_bits(data: bytes) -> int | None:
    """Return how many bits the values of the first component have, None where the header is damaged (A.5.1)."""
    body = next((body for marker, body in _segments(data) if marker == _SIZ), b"")
    return (body[36] & 0x7F) + 1 if len(body) > 36 else None


def _blocks(size: tuple[int, int, int, int], coding: bytes, precincts: bytes) -> int:
    """Precincts and code blocks of one component over all resolutions, at most."""
    width, height, tile_width, tile_height = size
    levels = min(coding[0], 32)
    tiles = _parts(width, tile_width) * _parts(height, tile_height)
    count = 0
    for resolution in range(levels + 1):
        scale = 1 << (levels - resolution)
        wide, high = (_parts(min(side, tile), scale) for side, tile in ((width, tile_width), (height, tile_height)))
        exponents = precincts[resolution] if resolution < len(precincts) else 0xFF
        across, down = 1 << (exponents & 15), 1 << (exponents >> 4)
        in_precincts = _parts(wide, across) * _parts(high, down)
        # Code blocks are not larger than precincts (B.7).
        blocks = _parts(wide, min(across, 4 << (coding[1] & 15))) * _parts(high, min(down, 4 << (coding[2] & 15)))
        count += tiles * (in_precincts + blocks)
    return count


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and bodies of the main header and of the tile parts' headers."""
    position = _codestream(data) + 2
    tile_end = 0
    while position + 4 <= len(data):
        marker, length = int.from_bytes(data[position : position + 2], "big"), 0
        if marker == _EOC:
            return
        if marker == _SOD:
            if tile_end <= position:
                # The last tile part may reach to the end of the file.
                return
            position = tile_end
            continue
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        if marker == _SOT:
            tile_end = position + int.from_bytes(body[2:6], "big")
        yield marker, body
        position += 2 + max(2, length)


def _codestream(data: bytes) -> int:
    """Where the codestream begins: at once, or in a box ``jp2c``."""
    if data[:4] == b"\xff\x4f\xff\x51":
        return 0
    return next((start for kind, start, _ in boxes(data) if kind == b"jp2c"), len(data))


def _parts(whole: int, part: int) -> int:
    return -(-max(whole, 0) // part) if part else 0
