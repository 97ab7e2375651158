"""One rule for all formats: a file may not be made of many more pieces than pictures are."""

from collections.abc import Callable
from typing import Final

from ulfine_cache.pictures.signatures import ANYMAP, GIF, JPEG, JPEG_2000, PNG, TIFF, Kind, kind_of
from ulfine_cache.pictures.structure.blocks import check_gif, check_png, check_pnm
from ulfine_cache.pictures.structure.jpeg import check_jpeg
from ulfine_cache.pictures.structure.jpeg2000 import check_jpeg2000
from ulfine_cache.pictures.structure.tiff import check_tiff

_CHECKS: Final[dict[Kind, Callable[[bytes], str]]] = {
    ANYMAP: check_pnm,
    GIF: check_gif,
    JPEG: check_jpeg,
    JPEG_2000: check_jpeg2000,
    PNG: check_png,
    TIFF: check_tiff,
}


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
    kind = kind_of(data)
    check = _CHECKS.get(kind) if kind is not None else None
    return "" if check is None else check(data)
