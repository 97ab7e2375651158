"""Image files of kinds that Pillow does not write."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

_CODES = {1: "B", 2: "B", 3: "H", 4: "I", 11: "f", 12: "d", 16: "Q"}


def saved(image, kind="PNG", **options):
    """The bytes of an image file."""
    buffer = io.BytesIO()
    # A copy, because Pillow keeps the settings of one format for the next.
    image.copy().save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name, body):
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(values, depth, colour, extra=b""):
    """A PNG file of (height, width) or (height, width, channels), as they are: 16 bits are not scaled.

    `colour` is 0 (grey), 2 (RGB), 4 (grey and alpha) or 6 (RGBA); `extra` are chunks in front of the pixels.
    """
    height, width = values.shape[:2]
    rows = values.astype(">u2" if depth == 16 else np.uint8).reshape(height, -1)
    if depth < 8:
        bits = np.unpackbits(rows[..., None], axis=-1)[..., -depth:].reshape(height, -1)
        rows = np.packbits(bits, axis=-1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff(values, *, tags=None, order="<", photometric=None, planes=False, deflate=False, more=(), big=False):
    """A TIFF file of (height, width) or (height, width, channels) in the order of bytes and with the tags given.

    `tags` are {number: (type, values)}; `more` are further directories, each {number: (type, values)}, that the first
    one names as its parts (SubIFDs).
    """
    height, width = values.shape[:2]
    samples = 1 if values.ndim == 2 else values.shape[2]
    stored = values.astype(values.dtype.newbyteorder(order))
    strips = [stored[..., plane].tobytes() for plane in range(samples)] if planes else [stored.tobytes()]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    entries = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8 * values.dtype.itemsize] * samples),
        259: (3, [8 if deflate else 1]),
        262: (3, [(2 if samples >= 3 else 1) if photometric is None else photometric]),
        273: (4, [0] * len(strips)),
        277: (3, [samples]),
        278: (4, [height]),
        279: (4, [len(strip) for strip in strips]),
        284: (3, [2 if planes else 1]),
        339: (3, [{"u": 1, "i": 2, "f": 3}[values.dtype.kind]] * samples),
        **(tags or {}),
    }
    if more:
        entries[330] = (4, [0] * len(more))
    # Made once to see how long it becomes.
    start = len(_directories(entries, more, order, big))
    entries[273] = (4, [start + sum(map(len, strips[:place])) for place in range(len(strips))])
    return _directories(entries, more, order, big) + b"".join(strips)


def _directories(entries, more, order, big):
    start = 16 if big else 8
    first = _directory(entries, order, start, big)
    places, parts = [], b""
    for part in more:
        places.append(start + len(first) + len(parts))
        parts += _directory(part, order, places[-1], big)
    if more:
        entries[330] = (4, places)
        first = _directory(entries, order, start, big)
    mark = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHHQ", 43, 8, 0, start) if big else struct.pack(order + "HI", 42, start)
    return mark + head + first + parts


def _directory(entries, order, place, big):
    pointer, count, size = ("Q", "Q", 20) if big else ("I", "H", 12)
    inline = struct.calcsize("<" + pointer)
    behind = place + struct.calcsize("<" + count) + size * len(entries) + inline
    table, extra = struct.pack(order + count, len(entries)), b""
    for tag in sorted(entries):
        kind, values = entries[tag]
        raw = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
        length = len(raw) // struct.calcsize("<" + _CODES[kind])
        if len(raw) > inline:
            at, extra = behind + len(extra), extra + raw
            raw = struct.pack(order + pointer, at)
        table += struct.pack(order + "HH" + pointer, tag, kind, length) + raw.ljust(inline, b"\0")
    return table + struct.pack(order + pointer, 0) + extra


def tga(values, attributes=None, alpha_bits=8):
    """A TGA file of uint8 (height, width, 4), with an extension area that names the type of the attributes if given."""
    height, width = values.shape[:2]
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, width, height, 32, 0x20 | alpha_bits)
    body = header + values[..., [2, 1, 0, 3]].tobytes()
    if attributes is None:
        return body
    area = struct.pack("<H", 495) + bytes(492) + bytes([attributes])
    return body + area + struct.pack("<II", len(body), 0) + b"TRUEVISION-XFILE.\0"


def rgb(*pixels):
    """An RGB picture one pixel high."""
    return Image.fromarray(np.array([pixels], np.uint8))
