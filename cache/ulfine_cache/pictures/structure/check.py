"""One rule for all formats: a file may not be made of many more pieces than pictures are."""

from collections.abc import Callable
from typing import Final

from ulfine_cache.pictures.structure.blocks import check_gif, check_png, check_pnm
from ulfine_cache.pictures.structure.jpeg import check_jpeg
from ulfine_cache.pictures.structure.jpeg2000 import check_jpeg2000
from ulfine_cache.pictures.structure.tiff import check_tiff

_CHECKS: Final[tuple[tuple[bytes, Callable[[bytes], str]], ...]] = (
    (b"\xff\xd8\xff", check_jpeg),
    (b"\x89PNG\r\n\x1a\n", check_png),
    (b"GIF8", check_gif),
    (b"II", check_tiff),
    (b"MM", check_tiff),
    (b"\xff\x4f\xff\x51", check_jpeg2000),
    (b"\x00\x00\x00\x0cjP", check_jpeg2000),
    *((b"P%d" % kind, check_pnm) for kind in range(1, 7)),
)


def objection(data: bytes) -> str:
    """Say why a file is not to be decoded, or ``""``.

    Decoders take time for each scan, marker, chunk, block or strip, however little is in it: a JPEG of 8 MB can hold
    20,000 scans or 2,000,000 markers, and a JPEG 2000 of 100 bytes can ask for 100 million blocks. Pillow has no bound
    on these, and cannot be interrupted. Nothing is judged here that a picture of a camera, a phone or an editor has;
    damage is found by the decoder, except in a JPEG that holds too few bytes for its size, which libjpeg fills with
    grey.

    Args:
        data: The bytes of an image file of any format, or of anything else.

    Returns:
        The reason in a few words, such as ``"too many scans (257)"``.

    Example:
        >>> objection(b"GIF89a")
        ''
    """
    for signature, check in _CHECKS:
        if data.startswith(signature):
            return check(data)
    return ""
