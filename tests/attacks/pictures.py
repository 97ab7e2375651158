"""Image files that are small, and take minutes or gigabytes where their form is not judged before they are decoded."""

import io
import struct
import zlib

from PIL import Image

MEGABYTE = 2**20


def saved(size, kind, mode="RGB", colour=None, **options):
    """A picture of one colour, as Pillow writes it."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour or 0).save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg_of_scans(size=(2000, 2000), scans=20_000):
    """A progressive JPEG whose last scans hold nothing: 10 bytes each, and each goes over the whole picture."""
    empty = b"\xff\xda" + struct.pack(">HB", 8, 1) + bytes([1, 0x00, 1, 63, 0x00])
    return saved(size, "JPEG", progressive=True)[:-2] + empty * scans + b"\xff\xd9"


def jpeg_of_markers(marker=b"\xff\xfe\x00\x02", megabytes=8):
    """A JPEG with this, which says nothing, over and over before its picture."""
    whole = saved((50, 50), "JPEG")
    return whole[:2] + marker * (megabytes * MEGABYTE // len(marker)) + whole[2:]


def jpeg_with_another_size(size=(7000, 7000), held=(50, 50), **options):
    """A JPEG whose header claims one size, while the data are those of another."""
    whole = bytearray(saved(held, "JPEG", colour=(200, 30, 30), **options))
    frame = whole.index(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    whole[frame + 5 : frame + 9] = struct.pack(">HH", size[1], size[0])
    return bytes(whole)


def png_chunk(kind, data=b""):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(size=(50, 50), extra=b"", colours=2):
    """A black PNG with these chunks before its picture; 2 is RGB and 6 RGBA."""
    width, height = size
    rows = zlib.compressobj(1)
    row = bytes(1 + width * (3 if colours == 2 else 4))
    packed = b"".join([*(rows.compress(row) for _ in range(height)), rows.flush()])
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0))
        + extra
        + png_chunk(b"IDAT", packed)
        + png_chunk(b"IEND")
    )


def png_of_chunks(kind=b"teXt", megabytes=60):
    return png_of(extra=png_chunk(kind) * (megabytes * MEGABYTE // 12))


def gif_of_blocks(block, megabytes=32, before=b"", after=b""):
    """A GIF with many of these between its header and its picture."""
    whole = saved((20, 20), "GIF", "P")
    place = whole.index(b"\x2c")
    return whole[:place] + before + block * (megabytes * MEGABYTE // len(block)) + after + whole[place:]


def tiff_of(tags, lists=b""):
    """A little-endian TIFF with one directory; `lists` begins behind it, at `tiff_lists_at(tags)`."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + lists


def tiff_of_strips(strips=8 * MEGABYTE):
    """Each strip is the same four bytes."""
    at = 8 + 2 + 9 * 12 + 4
    tags = [(256, 4, 1, 7000), (257, 4, 1, 7000), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, strips, at), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, strips, at)]
    return tiff_of(tags, struct.pack("<I", 8) * strips)


def tiff_of_numbers(numbers=30 * MEGABYTE):
    """A picture of 70 x 70 with 30 million numbers of bits."""
    at = 8 + 2 + 9 * 12 + 4
    tags = [(256, 4, 1, 70), (257, 4, 1, 70), (258, 3, numbers, at), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 70), (279, 4, 1, 4900)]
    return tiff_of(tags, struct.pack("<H", 8) * numbers)


def jpeg2000_of(size=(7000, 7000), tile=None, block=4, precincts=None, tiles=1, components=3):
    """A codestream without data; `block` is the exponent of a code block's sides, less 2."""
    tile = tile or size
    header = struct.pack(">HIIIIIIIIH", 0, *size, 0, 0, *tile, 0, 0, components) + b"\x07\x01\x01" * components
    style = bytes([precincts is not None, 0]) + struct.pack(">HBBBBBB", 1, 0, 0, block, block, 0, 1)
    style += b"" if precincts is None else bytes([precincts])
    segments = ((b"\xff\x51", header), (b"\xff\x52", style), (b"\xff\x5c", b"\x40\x48"))
    parts = b"".join(b"\xff\x90" + struct.pack(">HHIBB", 10, number, 14, 0, 1) + b"\xff\x93" for number in range(tiles))
    body = b"".join(name + struct.pack(">H", len(data) + 2) + data for name, data in segments)
    return b"\xff\x4f" + body + parts + b"\xff\xd9"


MANY_PIECES = {
    "jpeg of scans": jpeg_of_scans,
    "jpeg of comments": jpeg_of_markers,
    "jpeg of application data": lambda: jpeg_of_markers(b"\xff\xe1\x00\x02"),
    "jpeg of filling": lambda: jpeg_of_markers(b"\xff"),
    "jpeg of zeros": lambda: jpeg_of_markers(b"\xff\x00"),
    "png of texts": png_of_chunks,
    "png of data": lambda: png_of_chunks(b"IDAT"),
    "gif of comments": lambda: gif_of_blocks(b"\x21\xfe\0"),
    "gif of one comment": lambda: gif_of_blocks(b"\1a", before=b"\x21\xfe", after=b"\0"),
    "gif of one extension": lambda: gif_of_blocks(b"\1a", before=b"\x21\xff", after=b"\0"),
    "gif of nothing": lambda: gif_of_blocks(b"\0"),
    "tiff of strips": tiff_of_strips,
    "tiff of numbers": tiff_of_numbers,
    "pnm of numbers": lambda: b"P3 4600 4600 255\n" + b"0 " * (32 * MEGABYTE),
    "pnm of bits": lambda: b"P1 7000 7000\n" + b"0" * 49_000_000,
    "pnm to scale": lambda: b"P6 4500 4500 254\n" + bytes(3 * 4500**2),
    "pnm of two bytes to scale": lambda: b"P5 4500 4500 65534\n" + bytes(2 * 4500**2),
    "pnm of comments": lambda: b"P6\n" + b"#\n" * (32 * MEGABYTE) + b"1 1 255\nabc",
    "pnm of blanks": lambda: b"P6" + b" " * (60 * MEGABYTE) + b"1 1 255\nabc",
    "jpeg 2000 of precincts": lambda: jpeg2000_of((2000, 2000), precincts=0x00),
    "jpeg 2000 of code blocks": lambda: jpeg2000_of(block=0),
    "jpeg 2000 of narrow precincts": lambda: jpeg2000_of((40_000_000, 1), precincts=0xF0),
    "jpeg 2000 of tiles": lambda: jpeg2000_of(tile=(3, 3)),
}
"""By name, functions that make a file which is refused for the number of its pieces."""
