"""What lies behind a transparent picture here: white, as on paper and on most pages."""

import struct
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

WITH_ALPHA: Final = ("RGBA", "LA", "PA", "RGBa", "La")
_TGA_FOOTER: Final = b"TRUEVISION-XFILE.\0"
_ATTRIBUTES_TYPE: Final = 494
_USEFUL, _PREMULTIPLIED = 3, 4


STRIP_PIXELS: Final = 2**20
"""Pixels that are converted at a time."""


def over_white(image: Image.Image) -> Image.Image:
    """Lay a picture with transparency on white: RGB. In strips, since the way leads over three pictures of RGBA."""
    picture = Image.new("RGB", image.size)
    width, height = image.size
    rows = max(1, STRIP_PIXELS // max(width, 1))
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        transparent = image.crop(box).convert("RGBA")
        white = Image.new("RGBA", transparent.size, "white")
        picture.paste(Image.alpha_composite(white, transparent).convert("RGB"), box)
    return picture


def laid_on_white(colours: npt.NDArray[np.uint8], alpha: npt.NDArray[np.uint8] | None) -> Image.Image:
    """Make an RGB picture of colours, uint8 (height, width, 1 or 3), and transparency, uint8 (height, width)."""
    picture = Image.fromarray(colours[..., 0] if colours.shape[-1] == 1 else np.ascontiguousarray(colours))
    if alpha is None:
        return picture.convert("RGB")
    with_alpha = picture.convert("RGBA")
    with_alpha.putalpha(Image.fromarray(np.ascontiguousarray(alpha)))
    return over_white(with_alpha)


def white_where(picture: Image.Image, mask: npt.NDArray[np.bool_]) -> Image.Image:
    """Make pixels of an RGB picture white; the mask is (height, width)."""
    values = np.array(picture)
    values[mask] = 255
    return Image.fromarray(values)


def tga_over_white(image: Image.Image, data: bytes) -> Image.Image:
    """Lay a TGA picture with a fourth channel on white, as far as the file says that it is transparency: RGB.

    The attributes type of TGA 2.0's extension area counts (C.6.3.18 of the specification: 0 to 2 no alpha, or alpha to
    be ignored; 3 alpha; 4 colours multiplied by it), without such an area the number of alpha bits of the descriptor.

    Args:
        image: Decoded by Pillow, RGBA or LA.
        data: The whole file.
    """
    kind = _attributes_type(data)
    if kind is None:
        kind = _USEFUL if data[17] & 15 else 0
    if kind < _USEFUL:
        return image.convert("RGB")
    if kind == _PREMULTIPLIED:
        image = Image.frombytes("RGBa", image.size, image.convert("RGBA").tobytes())
    return over_white(image)


def _attributes_type(data: bytes) -> int | None:
    if not data.endswith(_TGA_FOOTER) or len(data) < 26:
        return None
    (place,) = struct.unpack_from("<I", data, len(data) - 26)
    inside = place > 0 and place + _ATTRIBUTES_TYPE < len(data) - 26
    return data[place + _ATTRIBUTES_TYPE] if inside else None
