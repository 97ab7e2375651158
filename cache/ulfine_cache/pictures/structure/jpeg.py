"""JPEG: a bound on scans and markers, and whether there is enough data for the size that the header claims.

ITU-T T.81, annex B, for the markers.
"""

import re
from typing import Final

MAX_SCANS: Final = 256
"""Most scans: each goes over the whole picture, 0.3 ms a million pixels at least. Progressive files have about 10."""

MAX_MARKERS: Final = 2000
"""Most marker segments of any kind: Pillow takes 5 us for each. A colour profile has up to 255, and a depth map that a
phone stores as XMP some hundreds."""

MAX_FILLING: Final = 2**16
"""Most bytes between segments, which Pillow reads one by one."""

# What follows FF and neither stands for FF itself (00), nor restarts a scan (D0 to D7), nor fills (FF).
_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_SOI, _EOI, _SOS, _TEM = 0xD8, 0xD9, 0xDA, 0x01
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2


def check_jpeg(data: bytes) -> str:
    """See `ulfine_cache.pictures.structure.check.objection`."""
    position = 2
    scans = markers = filling = coded = needed = 0
    in_scan = False
    while found := _MARKER.search(data, position):
        between = found.start() - position
        if in_scan:
            coded += between
        else:
            filling += between
        kind, position = data[found.end() - 1], found.end()
        if kind == _EOI:
            break
        markers += 1
        in_scan = kind == _SOS
        scans += in_scan
        if scans > MAX_SCANS:
            return f"too many scans (over {MAX_SCANS})"
        if markers > MAX_MARKERS or filling > MAX_FILLING:
            return "too many markers"
        if kind in (_SOI, _TEM):
            continue
        if kind in (*_SEQUENTIAL, _PROGRESSIVE) and not needed:
            needed = _fewest_bits(data[position : position + 8 + 3 * 255], progressive=kind == _PROGRESSIVE)
        # A scan's own header is skipped as any segment is; what follows it is coded data.
        position += max(2, int.from_bytes(data[position : position + 2], "big"))
    if 0 < coded * 8 < needed:
        return "truncated file"
    return ""


def _fewest_bits(frame: bytes, *, progressive: bool) -> int:
    """Bits that the blocks of a picture take at least.

    Each block of 8 x 8 has a Huffman code of at least one bit for its mean and, in a sequential file, another one for
    the end of the block.

    Args:
        frame: Of the length field on: length, precision, height, width, number of components, and for each component
            its number, sampling factors and table (T.81, B.2.2).
        progressive: Whether the rest of a block may stand in another scan, or nowhere.
    """
    height, width = int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[5:7], "big")
    sampling = [divmod(factors, 16) for factors in frame[9 : 8 + 3 * frame[7] : 3]] if len(frame) > 7 else []
    if not sampling:
        return 0
    most_across, most_down = max(across for across, _ in sampling), max(down for _, down in sampling)
    if not (most_across and most_down):
        return 0
    blocks = 0
    for across, down in sampling:
        blocks += (width * across // most_across + 7) // 8 * ((height * down // most_down + 7) // 8)
    return blocks * (1 if progressive else 2)
