"""What an image file itself says about which of its values are black and white."""

import re
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from ulfine_cache.pictures.pixel_range import Range, covers
from ulfine_cache.pictures.structure.jpeg2000 import jpeg2000_bits

_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT, _SMALLEST, _LARGEST = 258, 262, 339, 340, 341
_WHITE_IS_ZERO, _UNSIGNED = 0, 1
_FULL: Final = Range(0, 65535)


def grey_values(image: Image.Image) -> npt.NDArray[Any]:
    """Return the values of a decoded grey picture of more than eight bits.

    Returns:
        uint16, int32, int64 or float32 (height, width).
    """
    values = np.asarray(image)
    if values.dtype.kind == "u":
        return values.astype(np.uint16, copy=False)
    unsigned = _tag(image, _SAMPLE_FORMAT, _UNSIGNED) == _UNSIGNED and _tag(image, _BITS, 0) == 32
    # Pillow knows signed integers only.
    return values.view(np.uint32).astype(np.int64) if unsigned and values.dtype == np.int32 else values


def stated_range(image: Image.Image, data: bytes, values: npt.NDArray[Any]) -> Range | None:
    """Return which values are black and white by a file's own words, None where it does not say.

    Args:
        image: Opened, and decoded to grey of more than eight bits.
        data: The whole file.
        values: As `grey_values` gives them.
    """
    if image.format == "PPM":
        # Pillow has scaled by the file's largest value already. 65535 is what is written by those who do not care.
        return None if _largest_of_pgm(data) in (None, 65535) else _FULL
    if image.format == "JPEG2000":
        # Scaled as well.
        return None if jpeg2000_bits(data) == 16 else _FULL
    largest = _tag(image, _LARGEST, None)
    if largest is not None:
        stated = Range(_tag(image, _SMALLEST, 0), largest)
        if stated.black < stated.white and covers(stated, values):
            return stated
    bits = _tag(image, _BITS, 0)
    return Range(0, 2**bits - 1) if 8 < bits < 16 else None


def is_inverted(image: Image.Image) -> bool:
    """Tell whether a TIFF file's 0 is white, which Pillow minds in pictures of eight bits only."""
    return _tag(image, _PHOTOMETRIC, 1) == _WHITE_IS_ZERO


def _tag(image: Image.Image, tag: int, default: Any) -> Any:
    tags = cast("dict[int, Any]", getattr(image, "tag_v2", {}))
    value = tags.get(tag, default)
    return value[0] if isinstance(value, tuple) and value else value


def _largest_of_pgm(data: bytes) -> int | None:
    header = re.sub(rb"#[^\r\n]*", b"", data[:4096]).split(maxsplit=4)
    return int(header[3]) if len(header) > 3 and header[0] in (b"P2", b"P5") and header[3].isdigit() else None
